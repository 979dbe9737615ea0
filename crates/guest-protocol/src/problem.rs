//! Why the agent did not do what it was asked for.

use serde::{Deserialize, Serialize};

/// Why the agent did not do what it was asked for; the body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct Problem {
    /// What kind of trouble it is.
    pub code: ProblemCode,
    /// What failed, in words, with what can be done about it where that is known. It holds no secret.
    #[serde(deserialize_with = "crate::text::read")]
    pub message: String,
}

impl Problem {
    /// A problem in words.
    #[must_use]
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Kinds of trouble, each with a status of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request is malformed (400).
    Invalid,
    /// There is no such file, folder, program or user (404).
    NotFound,
    /// The agent has no such route (404): it is older than the host.
    NoRoute,
    /// Not now: not configured yet, configured otherwise already, or stopping (409).
    Conflict,
    /// More than the agent takes (413).
    TooLarge,
    /// Too many at a time (429).
    Busy,
    /// It was tried, and the guest's kernel or disk refused (500).
    Failed,
    /// A newer agent's kind of trouble.
    #[serde(other)]
    Unknown,
}

impl ProblemCode {
    /// The status of HTTP that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound | Self::NoRoute => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Failed | Self::Unknown => 500,
        }
    }
}
