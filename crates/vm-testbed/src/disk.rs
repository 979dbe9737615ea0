//! File systems that are soon full.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{BootError, tool};

/// A file system in memory (tmpfs(5)), on a folder of its own; both go with this.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One with room for so many KiB.
    ///
    /// # Errors
    /// With what `mount` says: it takes root ([`crate::Need::Root`]).
    pub fn new(kib: u32) -> Result<Self, BootError> {
        let folder = tempfile::tempdir().map_err(BootError::io(std::env::temp_dir()))?;
        let mut mount = Command::new("mount");
        tool::run(mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder.path()))?;
        Ok(Self(folder))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed has said so already. Lazily: for a moment, a process that another test starts holds what this one has open.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).stdin(Stdio::null()).output());
    }
}
