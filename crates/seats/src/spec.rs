//! What a seat should be.

use crate::{ApiKey, EnvVars, ImageRef, Limits, SeatRef};

/// A complete wish for one seat: nothing is left to a default any more. Two wishes for the same seat with equal
/// image, environment, limits and key are the same wish.
#[derive(Clone, Debug)]
pub struct SeatSpec {
    /// Which seat.
    pub seat: SeatRef,
    /// What it runs.
    pub image: ImageRef,
    /// Variables beyond those that the service always sets.
    pub env: EnvVars,
    /// What it may use.
    pub limits: Limits,
    /// The workspace's key, when it gets one.
    pub api_key: Option<ApiKey>,
}
