//! How a VM ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a VM's monitor ended, as its keeper wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Code, signal, or neither known.
    pub how: How,
    /// Whether the kernel killed something in its cgroup for want of memory.
    pub out_of_memory: bool,
    /// The last lines, two at most, that the monitor itself wrote to its standard error.
    pub last_words: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Code, signal, or neither known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It ended by itself, with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// Its keeper was killed before it could write down how; the monitor is killed with it.
    Unknown,
}

impl Exit {
    pub(super) fn of(status: ExitStatus, out_of_memory: bool, last_words: Option<String>) -> Self {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => How::Code(code),
            (None, Some(signal)) => How::Signal(signal),
            (None, None) => How::Unknown,
        };
        Self { how, out_of_memory, last_words, at: Timestamp::now() }
    }

    pub(super) fn unknown() -> Self {
        Self { how: How::Unknown, out_of_memory: false, last_words: None, at: Timestamp::now() }
    }
}

/// In words that fit behind a colon: `the VM was killed by SIGKILL`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Code(0) => f.write_str("the guest switched the VM off or restarted it")?,
            How::Code(code) => write!(f, "the VM monitor gave up with exit code {code}")?,
            How::Signal(signal) => {
                f.write_str("the VM was killed by ")?;
                match name(signal) {
                    Some(name) => f.write_str(name)?,
                    None => write!(f, "signal {signal}")?,
                }
            }
            How::Unknown => {
                f.write_str("the VM was killed together with its keeper, or the host restarted")?;
            }
        }
        if self.out_of_memory {
            f.write_str(" because it went over the memory limit of its cgroup")?;
        }
        match &self.last_words {
            Some(words) if self.how != How::Code(0) => write!(f, ": {words}"),
            _ => Ok(()),
        }
    }
}

/// The names of the signals that end processes (signal(7)).
fn name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS (a system call that the sandbox forbids)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(raw: i32, memory: bool, last: Option<&str>) -> String {
        Exit::of(ExitStatus::from_raw(raw), memory, last.map(Into::into)).to_string()
    }

    #[test]
    fn an_exit_is_told_in_words() {
        assert_eq!(words(0, false, Some("warning")), "the guest switched the VM off or restarted it");
        assert_eq!(words(1 << 8, false, None), "the VM monitor gave up with exit code 1");
        assert_eq!(
            words(1 << 8, false, Some("no such file")),
            "the VM monitor gave up with exit code 1: no such file"
        );
        assert_eq!(words(9, false, None), "the VM was killed by SIGKILL");
        assert_eq!(
            words(9, true, None),
            "the VM was killed by SIGKILL because it went over the memory limit of its cgroup"
        );
        assert_eq!(
            words(31, false, None),
            "the VM was killed by SIGSYS (a system call that the sandbox forbids)"
        );
        assert_eq!(words(34, false, None), "the VM was killed by signal 34");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let exit = Exit::of(ExitStatus::from_raw(9), true, Some("x".into()));
        let text = serde_json::to_string(&exit).unwrap();
        assert_eq!(serde_json::from_str::<Exit>(&text).unwrap(), exit);
        assert!(text.contains(r#""how":{"signal":9}"#), "{text}");
    }
}
