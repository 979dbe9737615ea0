//! What is wrong with the configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it is, when it is at one place.
    pub(crate) source: Option<Source>,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl Problem {
    /// A mistake at a place.
    pub(crate) fn at(source: Source, message: impl Into<String>) -> Self {
        Self { source: Some(source), message: message.into() }
    }

    /// A mistake of the whole.
    pub(crate) fn of_all(message: impl Into<String>) -> Self {
        Self { source: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Every mistake that was found.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {}", count(.0.len()))]
pub(crate) struct ConfigError(pub(crate) Vec<Problem>);

fn count(problems: usize) -> String {
    if problems == 1 { "a mistake".into() } else { format!("{problems} mistakes") }
}
