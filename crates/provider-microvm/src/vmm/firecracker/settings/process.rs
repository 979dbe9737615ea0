//! What the process itself writes.

use std::path::PathBuf;

use serde::Serialize;

use super::{Check, SettingError, TokenBucket};

/// Where the guest's serial console goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Serial {
    /// A file, which is made when it is not there, or a named pipe. It is opened at the start.
    pub serial_out_path: PathBuf,
    /// How many bytes the guest may write; what is beyond that is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<TokenBucket>,
}

/// Firecracker's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Logger {
    /// A file, which is made when it is not there, or a named pipe.
    pub log_path: PathBuf,
    /// What is written.
    pub level: LogLevel,
    /// Whether lines name their level.
    pub show_level: bool,
    /// Whether they name the line of the program.
    pub show_log_origin: bool,
    /// The module of the program that alone may write, by the beginning of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// What Firecracker writes to its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what is strange.
    Warning,
    /// And what is done.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And all the rest.
    Trace,
}

/// Where Firecracker's metrics go: once a minute and when they are asked for. It can be set once a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// A file, which is made when it is not there, or a named pipe.
    pub metrics_path: PathBuf,
}

impl Check for Serial {
    fn check(&self) -> Result<(), SettingError> {
        self.rate_limiter.as_ref().map_or(Ok(()), TokenBucket::check)
    }
}

impl Check for Logger {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}

impl Check for Metrics {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}
