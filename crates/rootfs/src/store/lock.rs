//! One lock per entry.
//!
//! The file of a lock may be removed by whoever holds it exclusively. One who opened it before and gets the lock
//! afterwards has the lock of a file that nobody else finds; so after locking, the path must still name the file that is
//! locked, or it begins anew.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Drop for Lock {
    /// To close the file is not enough: a program that this process is starting at this moment has it open as well,
    /// between fork and exec, and a lock lasts as long as anybody has its file open (flock(2)). Unlocked, it is free.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl Lock {
    /// Waits for a lock that others may share.
    pub(super) fn shared(path: &Path) -> Result<Self, StoreError> {
        Self::locked(path, File::lock_shared).map_err(|why| StoreError::io(path, why))
    }

    /// A lock that others may share; nothing when somebody has it for himself.
    pub(super) fn try_shared(path: &Path) -> Result<Option<Self>, StoreError> {
        Self::tried(path, |file| Ok(file.try_lock_shared()?))
    }

    /// A lock that nobody shares; nothing when somebody has it.
    pub(super) fn try_exclusive(path: &Path) -> Result<Option<Self>, StoreError> {
        Self::tried(path, |file| Ok(file.try_lock()?))
    }

    /// Removes the file of a lock that is held exclusively.
    pub(super) fn remove(self) -> Result<(), StoreError> {
        fs::remove_file(&self.path).map_err(|why| StoreError::io(&self.path, why))
    }

    fn tried(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Option<Self>, StoreError> {
        match Self::locked(path, lock) {
            Ok(lock) => Ok(Some(lock)),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(why) => Err(StoreError::io(path, why)),
        }
    }

    fn locked(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> io::Result<Self> {
        loop {
            let file = opened(path)?;
            lock(&file)?;
            if is_at(&file, path)? {
                return Ok(Self { path: path.into(), file });
            }
        }
    }
}

/// A store on a file system that can only be read has its locks already, or cannot be used.
fn opened(path: &Path) -> io::Result<File> {
    match OpenOptions::new().create(true).truncate(false).write(true).open(path) {
        Err(why)
            if matches!(why.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            File::open(path).map_err(|_| why)
        }
        opened => opened,
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let locked = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (locked.dev(), locked.ino())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_a_file_that_is_gone_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::try_exclusive(&path).unwrap().unwrap();
        assert!(Lock::try_shared(&path).unwrap().is_none());
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::shared(&path).unwrap()
        });
        held.remove().unwrap();
        // Whoever waited for the old file has the lock of the one that is there now.
        let next = waiting.join().unwrap();
        assert!(path.exists());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(next);
        let one = Lock::shared(&path).unwrap();
        let two = Lock::try_shared(&path).unwrap();
        assert!(two.is_some());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop((one, two));
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }
}
