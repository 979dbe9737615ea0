//! How a VM ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::ROOM;

/// How a VM's monitor ended, as its keeper wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Code, signal, or neither known.
    pub how: How,
    /// Whether the kernel killed something in its cgroup for want of memory.
    pub out_of_memory: bool,
    /// The last lines, two at most, that the monitor itself wrote to its standard error.
    pub last_words: Option<String>,
    /// What the guest's kernel said on its console when it panicked. To the monitor that is a restart like any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic: Option<String>,
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

/// What was said before the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// By the monitor.
    pub(super) last_words: Option<String>,
    /// By the guest's kernel.
    pub(super) panic: Option<String>,
}

impl Exit {
    pub(super) fn of(status: ExitStatus, out_of_memory: bool, said: Said) -> Self {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => How::Code(code),
            (None, Some(signal)) => How::Signal(signal),
            (None, None) => How::Unknown,
        };
        let Said { last_words, panic } = said;
        Self { how, out_of_memory, last_words, panic, at: Timestamp::now() }
    }

    pub(super) fn unknown() -> Self {
        Self::plain(How::Unknown)
    }

    /// One of which nothing else is known.
    pub(crate) fn plain(how: How) -> Self {
        Self { how, out_of_memory: false, last_words: None, panic: None, at: Timestamp::now() }
    }

    /// Whether the guest wanted it so.
    pub(crate) fn is_orderly(&self) -> bool {
        self.how == How::Code(0) && self.panic.is_none()
    }
}

/// In words that fit behind a colon: `the VM was killed by SIGKILL`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (How::Code(0), Some(words)) = (self.how, &self.panic) {
            return write!(f, "the guest's kernel panicked: {words}");
        }
        match self.how {
            How::Code(0) => f.write_str("the guest switched the VM off or restarted it")?,
            How::Code(code) => {
                write!(f, "the VM monitor gave up with exit code {code}")?;
                if let Some(meaning) = meaning(code) {
                    write!(f, " ({meaning})")?;
                }
            }
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
            Some(words) if self.how != How::Code(0) => {
                write!(f, ": {words}")?;
                f.write_str(if words.contains(FULL) { ROOM } else { "" })
            }
            _ => Ok(()),
        }
    }
}

/// What monitors and jailers say with `ENOSPC` (strerror(3)).
const FULL: &str = "No space left on device";

/// What Firecracker means by its exit codes (`FcExitCode`). QEMU has none but 0 and 1.
fn meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        143 => "SIGTERM",
        148 => "a system call that its sandbox forbids",
        149 => "SIGBUS: a file that it has mapped became shorter, or cannot be read",
        150 => "SIGSEGV",
        151 => "SIGXFSZ: a file was to become larger than it may",
        152 => "its configuration is wrong",
        153 => "its arguments are wrong",
        154 => "SIGXCPU",
        155 => "SIGPIPE",
        156 => "SIGHUP",
        157 => "SIGILL",
        _ => return None,
    })
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
        let said = Said { last_words: last.map(Into::into), panic: None };
        Exit::of(ExitStatus::from_raw(raw), memory, said).to_string()
    }

    #[test]
    fn a_panic_is_no_orderly_end() {
        let end = |raw, panic: Option<&str>| {
            let said = Said { last_words: None, panic: panic.map(Into::into) };
            let exit = Exit::of(ExitStatus::from_raw(raw), false, said);
            (exit.is_orderly(), exit.to_string())
        };
        let panicked = "the guest's kernel panicked: out of luck".to_owned();
        assert_eq!(end(0, Some("out of luck")), (false, panicked));
        assert!(end(0, None).0);
        // It was the signal that ended it.
        assert_eq!(end(9, Some("out of luck")), (false, "the VM was killed by SIGKILL".into()));
    }

    #[test]
    fn an_exit_is_told_in_words() {
        assert_eq!(words(0, false, Some("warning")), "the guest switched the VM off or restarted it");
        assert_eq!(words(1 << 8, false, None), "the VM monitor gave up with exit code 1");
        assert_eq!(
            words(1 << 8, false, Some("no such file")),
            "the VM monitor gave up with exit code 1: no such file"
        );
        assert_eq!(
            words(1 << 8, false, Some("No space left on device (os error 28)")),
            "the VM monitor gave up with exit code 1: No space left on device (os error 28); free space or inodes on that disk"
        );
        assert_eq!(
            words(148 << 8, false, None),
            "the VM monitor gave up with exit code 148 (a system call that its sandbox forbids)"
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
        let said = Said { last_words: Some("x".into()), panic: None };
        let exit = Exit::of(ExitStatus::from_raw(9), true, said);
        let text = serde_json::to_string(&exit).unwrap();
        assert_eq!(serde_json::from_str::<Exit>(&text).unwrap(), exit);
        assert!(text.contains(r#""how":{"signal":9}"#), "{text}");
    }
}
