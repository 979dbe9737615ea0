//! How a command ends: exit codes and failures.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// The exit codes that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for a reason that has no code of its own.
    Failure = 1,
    /// The arguments, the configuration or the request are wrong.
    Usage = 2,
    /// It is not there.
    NotFound = 3,
    /// Something else is in the way.
    Conflict = 4,
    /// The service or its engine does not answer, or has no room now.
    Unavailable = 5,
    /// Some seats of the class failed.
    Partly = 6,
    /// The time to wait was over first; the service goes on.
    Late = 7,
}

impl Exit {
    /// How a command ends that stopped waiting after `wait`: who asked not to wait at all got what they asked for.
    pub(crate) fn of_wait(wait: Option<Duration>) -> Self {
        if wait.is_some_and(|wait| wait.is_zero()) { Self::Ok } else { Self::Late }
    }
}

impl Exit {
    /// The part of `--help` that documents the codes.
    pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  the arguments, the configuration or the request are wrong
  3  not found
  4  in conflict with what is there
  5  the service or its engine does not answer, or is full; trying again may help
  6  some seats of the class failed
  7  the time to wait was over first; the service goes on";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command: what failed, why in detail, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What failed.
    pub(crate) message: String,
    /// Single mistakes, one a line.
    pub(crate) details: Vec<String>,
    /// What a person can do about it.
    pub(crate) remedy: Option<String>,
}

impl Failure {
    /// A failure without details.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new(), remedy: None }
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Adds single mistakes.
    pub(crate) fn details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        let message = error.to_string();
        Self::new(Exit::Usage, message).details(error.0.iter().map(ToString::to_string).collect())
    }
}
