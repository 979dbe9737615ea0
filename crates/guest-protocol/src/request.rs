//! The small requests.

use serde::{Deserialize, Serialize};

use crate::{GuestPath, Signal};

/// `POST /v1/signal`: sends a signal to the workload's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignalRequest {
    /// Which.
    pub signal: Signal,
}

/// `POST /v1/time`: sets the guest's clock at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetTime {
    /// Nanoseconds since 1970.
    pub unix_ns: u64,
}

/// `POST /v1/stop`: ends the workload, then the machine. It is answered when it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StopRequest {
    /// How long the workload has after its stop signal, in milliseconds, before it is killed.
    pub deadline_ms: u64,
}

/// The query of `GET` and `PUT /v1/files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FilesQuery {
    /// Down: a file or folder, which becomes an archive with its last name at its top. Up: a folder that is there,
    /// into which an archive is unpacked.
    pub path: GuestPath,
    /// Up: whose the files become.
    #[serde(default)]
    pub owner: Owner,
}

/// Whose the unpacked files become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The user's that the workload runs as.
    #[default]
    Workload,
    /// The numbers' that the archive has.
    Archive,
}
