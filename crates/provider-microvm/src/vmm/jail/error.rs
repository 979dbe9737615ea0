//! Why there is no jail.

use std::io;
use std::path::PathBuf;

use crate::vmm::SpecError;
use crate::vmm::error::room;

/// Why there is no jail. Whose it was to be, is told by whoever tells it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JailError {
    /// What was asked for is out of bounds; nothing was changed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What was there cannot be removed.
    #[error("{0}")]
    Remove(#[source] io::Error),
    /// A file cannot be a part of the jail.
    #[error("{} {why}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A file and the jail are on different file systems.
    #[error(
        "{} is on another file system than {}, into which it has to be linked: \
         keep images, kernels and seats on one, all below state_dir", .file.display(), .base.display()
    )]
    OtherFileSystem {
        /// What was to be linked.
        file: PathBuf,
        /// Into where.
        base: PathBuf,
    },
    /// The jail's file system is mounted so that no monitor can run in there.
    #[error("the file system of {} is mounted {option}, and a jailed monitor {why}: mount it without", .base.display())]
    Mounted {
        /// The jail.
        base: PathBuf,
        /// The option that is in the way (mount(8)).
        option: &'static str,
        /// What it prevents.
        why: &'static str,
    },
    /// There is no room for what the jailer makes.
    #[error(
        "the file system of {} has {free}, and a jail takes {needs}: free some there, or put state_dir on a larger one", .base.display()
    )]
    Full {
        /// The jail.
        base: PathBuf,
        /// What there is, with its unit.
        free: String,
        /// What it takes, with its unit.
        needs: String,
    },
    /// The kernel does not let something be done.
    #[error("{what}: {why}{}", room(.why))]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why it failed.
        #[source]
        why: io::Error,
    },
}

impl JailError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |why| Self::Io { what, why }
    }
}
