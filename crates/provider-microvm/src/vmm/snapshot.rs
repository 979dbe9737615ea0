//! A VM in files, from which others are started without booting.
//!
//! ```text
//!   {folder}/            of root alone, mode 0700; it has this name only when it is whole
//!     memory             the guest's memory, with holes where it is zero
//!     state              its processors and devices, in the monitor's own words
//!     snapshot.json      the Description: what must be equal where it is used, sizes and digests
//! ```
//!
//! It is written under another name, synced, read again from the disk, and then renamed. What stops in between leaves a folder with the other name, which
//! the next one that is made in its place removes. What is opened is checked for its sizes, and not for its digests.
//!
//! **Memory is read once** for QEMU, into a file that is in memory itself (`memfd_create(2)`), and VMs map that privately: what they only read is there once for all of
//! them, what they write is their own. Not the file on the disk: QEMU before 8.2 opens for writing even what it maps privately, so a VM's user would
//! have to be allowed to change what the memory of all others comes from; and a file that is cut short kills whoever has mapped it. The one in memory is sealed
//! against both. It is taken as a whole when it is read: a page that was not there yet would count against the cgroup of the VM that touches it first, on top of
//! that VM's own copy.
//!
//! Firecracker opens what it maps for reading only, so its VMs map the file itself, by a further name that each has in its jail. It is read when it is opened, as
//! far as the host has room for it, so that its pages do not count against the first VM either. Nobody but root can cut it short.
//!
//! **No secret and no identity** is in it when the guest was saved before it was configured; that is up to whoever saves it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use super::Vm;

mod description;
mod digest;
mod error;
mod files;
mod look;
mod memory;

pub use description::{Difference, DriveTraits, Traits};
pub use error::SnapshotError;

pub(crate) use digest::digest;
pub(crate) use files::write;
pub(super) use files::{Unfinished, blocking};
pub(super) use look::{Digests, Here, this_processor};
pub(crate) use memory::Memory;

/// A VM that can be saved. It goes on when this is dropped.
#[derive(Debug)]
pub struct Savable {
    pub(super) vm: Vm,
    pub(super) traits: Traits,
    /// Of a monitor that does not write it itself.
    pub(super) memory: Option<Memory>,
}

impl Savable {
    /// The VM.
    #[must_use]
    pub fn vm(&self) -> &Vm {
        &self.vm
    }
}

/// A snapshot that was opened, and can be used as long as this is there, whatever becomes of its folder.
#[derive(Debug)]
pub struct Snapshot {
    folder: PathBuf,
    opening: String,
    traits: Traits,
    state: File,
    memory: Memory,
}

impl Snapshot {
    /// Opens one and reads its memory, which takes as much of the host's as the guest has, for Firecracker as long as there is room. To be called where it may
    /// block.
    ///
    /// # Errors
    /// [`SnapshotError::Incomplete`] when something of it is not there or cut short, [`SnapshotError::Format`] when another program wrote it.
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        files::open(folder)
    }

    /// What one was made of, without opening it.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn look(folder: &Path) -> Result<Traits, SnapshotError> {
        files::look(folder).map(|(traits, ..)| traits)
    }

    /// Where it was opened.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What tells the memory that it takes from all other: 16 hex digits. For QEMU each opening has its own; for Firecracker all of one file have the same. That memory is there for as long as this or any VM that was
    /// started from it.
    #[must_use]
    pub fn opening(&self) -> &str {
        &self.opening
    }

    /// What it was made of.
    #[must_use]
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Whether a VM of these traits can be started from it.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`] with the first that differs.
    pub fn fits(&self, here: &Traits) -> Result<(), SnapshotError> {
        match self.traits.difference(here) {
            None => Ok(()),
            Some(difference) => Err(SnapshotError::Differs { folder: self.folder.clone(), difference }),
        }
    }

    /// The state, from its beginning.
    pub(super) fn state(&self) -> io::Result<File> {
        // A descriptor's copy would share its position with all others.
        File::open(format!("/proc/self/fd/{}", self.state.as_raw_fd()))
    }

    /// Where root may open the state, in another process too, while this is there.
    pub(super) fn state_path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.state.as_raw_fd()).into()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }
}
