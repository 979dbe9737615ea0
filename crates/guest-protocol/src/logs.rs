//! What the workload said: `GET /v1/logs`, a stream of frames.
//!
//! The kind of a frame is [`output::OUT`](crate::output::OUT) or [`output::ERR`](crate::output::ERR). Its payload is the time in
//! milliseconds since 1970 (8 bytes, the highest first) and then bytes, with their line end when they have one.

use serde::{Deserialize, Serialize};

/// What part of the log is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogQuery {
    /// Only the last lines, so many; all that is kept when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Whether it goes on with what is said from now on.
    #[serde(default)]
    pub follow: bool,
}
