//! Why a snapshot cannot be made or used.

use std::io;
use std::path::{Path, PathBuf};

use super::Difference;
use super::description::FORMAT;

/// Why a snapshot cannot be made or used. Whoever was to be started from it can be booted instead.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something of it is not there.
    #[error("the snapshot {} is not whole: {why}; it has to be made anew", .folder.display())]
    Incomplete {
        /// Which.
        folder: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another program wrote it.
    #[error("the snapshot {} has the format {found}, and this program reads {FORMAT}; it has to be made anew", .folder.display())]
    Format {
        /// Which.
        folder: PathBuf,
        /// Its number.
        found: u32,
    },
    /// It was made of something else than what it was to be used for.
    #[error("the snapshot {} was made {difference}; it has to be made anew", .folder.display())]
    Differs {
        /// Which.
        folder: PathBuf,
        /// The first difference.
        difference: Difference,
    },
    /// The monitor does not take it.
    #[error("the snapshot {} cannot be loaded: {fault}; it has to be made anew", .folder.display())]
    Refused {
        /// Which.
        folder: PathBuf,
        /// Why, in the monitor's words.
        fault: String,
    },
    /// What was written is not what is on the disk.
    #[error("the snapshot {}: {file} reads differently from how it was written: look at the disk's health", .folder.display())]
    Damaged {
        /// Which.
        folder: PathBuf,
        /// Which file of it.
        file: &'static str,
    },
    /// The kernel does not let something be done.
    #[error("the snapshot {}: {what}: {why}", .folder.display())]
    Io {
        /// Which.
        folder: PathBuf,
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        why: io::Error,
    },
}

impl SnapshotError {
    pub(in crate::vmm) fn io(folder: &Path, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (folder, what) = (folder.to_owned(), what.into());
        move |why| Self::Io { folder, what, why }
    }
}
