//! Turns on seats, among the tasks of this process and with other processes (`flock(2)`).
//!
//! A lock's file is there only while the lock is held or waited for, and is removed by whoever holds it. One who opened it
//! before and gets the lock afterwards has the lock of a file that nobody else finds; so after locking, the path must still
//! name the file that is locked, or it begins anew.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

/// The locks of one provider.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashMap<PathBuf, Weak<Turns<()>>>>);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    path: PathBuf,
    _file: File,
    /// The last to go: only one task of this provider waits for the file at a time, so that those who wait do not use up
    /// the runtime's threads.
    _mine: OwnedMutexGuard<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The lock is still held. What stays of a file that cannot be removed is used again.
        let _ = fs::remove_file(&self.path);
    }
}

impl Locks {
    /// Waits for a turn.
    pub(crate) async fn turn(&self, path: PathBuf) -> io::Result<Turn> {
        let mine = self.of(&path).lock_owned().await;
        let file = match try_lock(&path)? {
            Some(file) => file,
            None => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || wait(&path)).await.map_err(io::Error::other)??
            }
        };
        Ok(Turn { path, _file: file, _mine: mine })
    }

    fn of(&self, path: &Path) -> Arc<Turns<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(path).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Turns::new(()));
        all.insert(path.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

/// Whether somebody has a turn now.
pub(crate) fn is_held(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(why)) => return Err(why),
        }
    }
}

fn wait(path: &Path) -> io::Result<File> {
    loop {
        let file = open(path)?;
        file.lock()?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(mine), Ok(there)) => (mine.dev(), mine.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_at_a_time_and_nothing_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let inside = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let locks = Arc::new(Locks::default());
            for _ in 0..25 {
                let (locks, path, inside) = (locks.clone(), path.clone(), inside.clone());
                tasks.push(tokio::spawn(async move {
                    let _turn = locks.turn(path.clone()).await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    assert!(is_held(&path));
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!path.exists() && !is_held(&path));
    }

    #[tokio::test]
    async fn who_gives_up_does_not_hold_up_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (one, two) = (Locks::default(), Locks::default());
        let held = one.turn(path.clone()).await.unwrap();
        {
            let mut waiting = Box::pin(two.turn(path.clone()));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        drop(held);
        drop(two.turn(path.clone()).await.unwrap());
        drop(one.turn(path).await.unwrap());
    }
}
