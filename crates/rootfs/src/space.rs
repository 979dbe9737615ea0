//! Whether a disk has room, asked before anything is written on it.
//!
//! What is asked for is compared with what is free for everybody at this moment (`f_bavail` of statvfs(3)). Others may take it
//! meanwhile, and quotas are not seen: that a disk fills up later is an error of its own, wherever something is written.

use std::path::{Path, PathBuf};

/// There is no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room in {}: {needed} bytes are needed and {free} are free; make room, or take another disk",
    .folder.display()
)]
pub struct NoRoom {
    /// The folder in which something was to be written.
    pub folder: PathBuf,
    /// Bytes that would be allocated.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// Refuses what its disk has no room for. A file system that does not say how large it is refuses nothing, nor does a
/// folder that cannot be asked: whoever writes there then learns why.
pub(crate) fn room(folder: &Path, needed: u64) -> Result<(), NoRoom> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match rustix::fs::statvfs(folder) {
        // A tmpfs without a limit, and file systems that are none of a disk, have no blocks at all.
        Ok(disk) if disk.f_blocks > 0 => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < needed { Err(NoRoom { folder: folder.into(), needed, free }) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(room(folder.path(), 0), Ok(()));
        let refused = room(folder.path(), u64::MAX).unwrap_err();
        assert_eq!((refused.folder.as_path(), refused.needed), (folder.path(), u64::MAX));
        assert!(refused.free < u64::MAX);
        assert_eq!(room(Path::new(""), u64::MAX).unwrap_err().folder, Path::new("."));
    }

    #[test]
    fn what_does_not_say_how_large_it_is_refuses_nothing() {
        assert_eq!(room(Path::new("/proc"), u64::MAX), Ok(()));
        assert_eq!(room(Path::new("/nonexistent"), u64::MAX), Ok(()));
    }
}
