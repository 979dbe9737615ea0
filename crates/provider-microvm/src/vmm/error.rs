//! Why there is no VM.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::firecracker::{FirecrackerError, Version};
use super::qemu::QmpError;
use super::{Exit, SnapshotError, SpecError};

/// What [`VmmError::Timeout`] says of a monitor that is there and does not get as far as to processors that run.
pub(crate) const STARTED: &str = "the VM's start";

/// Why there is no VM, or it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// The monitor's program cannot be used.
    #[error("{}: {trouble}", .program.display())]
    Binary {
        /// Which.
        program: PathBuf,
        /// Why.
        trouble: BinaryTrouble,
    },
    /// What was asked for is out of bounds; nothing was changed.
    #[error("seat {seat}: {why}")]
    Spec {
        /// Whose.
        seat: String,
        /// What is wrong.
        #[source]
        why: SpecError,
    },
    /// A VM runs in this folder already.
    #[error("seat {seat}: a VM runs in {} already", .folder.display())]
    Busy {
        /// Whose.
        seat: String,
        /// Where.
        folder: PathBuf,
    },
    /// The keeper could not be started or could not start the VM.
    #[error("seat {seat}: {why}")]
    Launch {
        /// Whose.
        seat: String,
        /// What failed, in the keeper's words.
        why: String,
    },
    /// The VM's user has a process of somebody else's: of another service, say, that chose it at the same time.
    #[error("seat {seat}: {why}")]
    UserTaken {
        /// Whose.
        seat: String,
        /// Which user, and which process, in the keeper's words.
        why: String,
    },
    /// The VM ended before it ran.
    #[error("seat {seat}: the VM ended while it started: {exit}")]
    Ended {
        /// Whose.
        seat: String,
        /// How.
        exit: Box<Exit>,
    },
    /// The monitor did not understand, refused, or was not there.
    #[error("seat {seat}: {why}")]
    Monitor {
        /// Whose.
        seat: String,
        /// What failed.
        #[source]
        why: QmpError,
    },
    /// Firecracker did not understand, refused, or was not there.
    #[error(transparent)]
    Firecracker(#[from] FirecrackerError),
    /// QEMU's protocol was asked for.
    #[error("seat {seat}: its monitor is no QEMU, and has no QMP")]
    NoQmp {
        /// Whose.
        seat: String,
    },
    /// The service may not do what the jailer does.
    #[error(
        "VMs cannot be jailed without {}: run the service as root with these capabilities, or ask for no jail", .lacking.join(", ")
    )]
    Powerless {
        /// Which capabilities lack (capabilities(7)).
        lacking: Vec<&'static str>,
    },
    /// Something did not happen in time.
    #[error("seat {seat}: {what} did not happen within {} s", .limit.as_secs())]
    Timeout {
        /// Whose.
        seat: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// A snapshot cannot be made or used.
    #[error("seat {seat}: {why}")]
    Snapshot {
        /// Whose.
        seat: String,
        /// Which, why, and what to do.
        #[source]
        why: SnapshotError,
    },
    /// No accelerator as asked for.
    #[error("KVM cannot be used: {0}; set the accelerator to auto or tcg, or make KVM work on this host")]
    NoKvm(String),
    /// The host or the prepared kernel is not fit for the monitor: which, why, and what to do.
    #[error("{0}")]
    Unfit(String),
    /// The kernel does not let something be done.
    #[error("seat {seat}: {what}: {why}{}", room(.why))]
    Io {
        /// Whose.
        seat: String,
        /// What was tried, with the path.
        what: String,
        /// Why it failed.
        #[source]
        why: io::Error,
    },
}

/// Why a program cannot be used as a monitor.
#[derive(Debug, thiserror::Error)]
pub enum BinaryTrouble {
    /// It is not there.
    #[error("not found: install QEMU (on Debian and Ubuntu the package qemu-system-x86) or set its path")]
    Missing,
    /// It cannot be run.
    #[error("cannot be run: {0}")]
    NotExecutable(#[source] io::Error),
    /// It does not say what it is.
    #[error("does not look like QEMU: `--version` said {0:?}")]
    Unknown(String),
    /// It is older than what is needed.
    #[error("is QEMU {found}, and at least {least} is needed")]
    TooOld {
        /// Its version.
        found: super::qemu::Version,
        /// What is needed.
        least: super::qemu::Version,
    },
    /// It lacks something.
    #[error("lacks {0}")]
    Lacks(String),
    /// Firecracker is not there.
    #[error("not found: install Firecracker (a release, or a static build of its source) or set its path")]
    NoFirecracker,
    /// It does not say that it is Firecracker.
    #[error("does not look like Firecracker: `--version` said {0:?}")]
    NotFirecracker(String),
    /// The jailer is not there.
    #[error("not found: it is beside firecracker in a release; install it, set its path, or ask for no jail")]
    NoJailer,
    /// It does not say that it is a jailer.
    #[error("does not look like Firecracker's jailer: `--version` said {0:?}")]
    NotJailer(String),
    /// Jailer and Firecracker are not from one release (docs/jailer.md of Firecracker).
    #[error("is of Firecracker {found}, and the other program is {firecracker}: take both from one release")]
    OtherRelease {
        /// The jailer's version.
        found: Version,
        /// Firecracker's.
        firecracker: Version,
    },
    /// It is a program for another processor.
    #[error(
        "is a program for {found}, and this host is {}: take the release for that",
        std::env::consts::ARCH
    )]
    OtherProcessor {
        /// Which.
        found: String,
    },
    /// It needs libraries, of which there are none in a jail.
    #[error("is not static, and a jail holds no libraries: take a release's, or build it with +crt-static")]
    NotStatic,
    /// It is no program.
    #[error("is no ELF program")]
    NoProgram,
    /// It is an older Firecracker than what is needed.
    #[error("is Firecracker {found}, and at least {least} is needed: install a newer one", least = Version::LEAST)]
    OldFirecracker {
        /// Its version.
        found: Version,
    },
}

/// What to do about a disk that is full, to be told behind an error.
pub(super) const ROOM: &str = "; free space or inodes on that disk";

/// That, about an error of such a disk; nothing about others.
pub(super) fn room(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ROOM,
        _ => "",
    }
}

impl VmmError {
    pub(super) fn io(seat: &str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (seat, what) = (seat.to_owned(), what.into());
        move |why| Self::Io { seat, what, why }
    }

    /// Whether this says no more than that the monitor's socket is closed: when it has ended, how it ended is the reason.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Monitor { why, .. } => matches!(why, QmpError::Closed | QmpError::Unreachable(_)),
            Self::Firecracker(why) => why.trouble.is_gone(),
            _ => false,
        }
    }
}
