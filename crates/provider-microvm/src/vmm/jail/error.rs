//! Why there is no jail.

use std::io;
use std::path::PathBuf;

use crate::vmm::qemu::Version;

/// Why there is no jail, or what is left of one cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// A program cannot be used.
    #[error("{}: {trouble}", .program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// Why.
        trouble: ProgramTrouble,
    },
    /// The service may not do what the jailer does.
    #[error("VMs cannot be jailed without {}: run the service as root with these capabilities", .lacking.join(", "))]
    Powerless {
        /// Which capabilities lack (capabilities(7)).
        lacking: Vec<&'static str>,
    },
    /// What was asked for is out of bounds; nothing was changed.
    #[error("seat {seat}: {why}")]
    Spec {
        /// Whose.
        seat: String,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be a part of the jail.
    #[error("seat {seat}: {} {why}", .file.display())]
    File {
        /// Whose.
        seat: String,
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A file and the jail are on different file systems.
    #[error(
        "seat {seat}: {} is on another file system than {}, into which it has to be linked: \
         keep images, kernels and seats on one, all below state_dir", .file.display(), .base.display()
    )]
    OtherFileSystem {
        /// Whose.
        seat: String,
        /// What was to be linked.
        file: PathBuf,
        /// Into where.
        base: PathBuf,
    },
    /// The jail's file system is mounted so that no monitor can run in there.
    #[error("seat {seat}: the file system of {} is mounted {option}, and a jailed monitor {why}: mount it without", .base.display())]
    Mounted {
        /// Whose.
        seat: String,
        /// The jail.
        base: PathBuf,
        /// The option that is in the way (mount(8)).
        option: &'static str,
        /// What it prevents.
        why: &'static str,
    },
    /// The kernel does not let something be done.
    #[error("seat {seat}: {what}: {why}")]
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

/// Why a program cannot be used as or in a jail.
#[derive(Debug, thiserror::Error)]
pub enum ProgramTrouble {
    /// It is not there.
    #[error(
        "not found: unpack a release of Firecracker (https://github.com/firecracker-microvm/firecracker/releases) or set its path"
    )]
    Missing,
    /// It cannot be run.
    #[error("cannot be run: {0}")]
    NotExecutable(#[source] io::Error),
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
    /// It does not say what it is.
    #[error("does not look like Firecracker's jailer: `--version` said {0:?}")]
    Unknown(String),
    /// It is older than what is needed.
    #[error("is version {found}, and at least {least} is needed")]
    TooOld {
        /// Its version.
        found: Version,
        /// What is needed.
        least: Version,
    },
}

impl JailError {
    pub(super) fn io(seat: &str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (seat, what) = (seat.to_owned(), what.into());
        move |why| Self::Io { seat, what, why }
    }
}
