//! How a check can end.

use std::error::Error;
use std::fmt;

/// Why a check ends early. Any error converts into a failure, so that checks use `?`.
///
/// It is not an error type itself, for that very conversion's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It cannot be checked here; holds the reason.
    Skip(String),
    /// The provider broke its promise, or the harness broke down; holds what was seen.
    Fail(String),
}

impl Stop {
    /// It cannot be checked here.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// The promise was broken.
    pub fn fail(what: impl Into<String>) -> Self {
        Self::Fail(what.into())
    }
}

impl<E: Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(format!("unexpected error: {error} ({error:?})"))
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider keeps this promise.
    Passed,
    /// It could not be checked; holds the reason.
    Skipped(String),
    /// The provider breaks this promise; holds what was seen.
    Failed(String),
}

impl Verdict {
    /// `passed`, `skipped` or `failed`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it was skipped or failed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Skipped(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        self.reason().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl From<Result<(), Stop>> for Verdict {
    fn from(result: Result<(), Stop>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(Stop::Skip(reason)) => Self::Skipped(reason),
            Err(Stop::Fail(reason)) => Self::Failed(reason),
        }
    }
}
