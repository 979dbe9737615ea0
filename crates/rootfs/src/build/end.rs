//! The end of a file: on the disk and hashed, or gone.
//!
//! Both begin while the file is still written. Content comes in the order of its places, so what lies before the last of it
//! stays as it is: one thread hashes it, another has the disk write it.
//!
//! ```text
//!   writing ──► settled to here ──┬──► hash, up to there
//!                                 └──► sync
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::{Digest, Progress, Quiet};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Bytes from one step of hashing to the next: large enough to be read in one go, small enough to be in the page cache still.
const HASH_STEP: u64 = 4 << 20;
/// Bytes from one sync to the next: each waits for the disk to have everything, and its journal.
const SYNC_STEP: u64 = 64 << 20;

/// Removes a file when it is dropped, unless it was kept.
pub(super) struct Removing<'a>(Option<&'a Path>);

impl<'a> Removing<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        Self(Some(path))
    }

    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // The error that led here is the one to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Follows a file that is written.
pub(super) struct Following<'scope> {
    hash: Step<'scope, Hash>,
    sync: Step<'scope, ()>,
}

impl<'scope> Following<'scope> {
    /// # Errors
    /// When the host has no thread left.
    pub(super) fn begin<'env>(scope: &'scope Scope<'scope, 'env>, file: &'env File) -> io::Result<Self> {
        let hash = Step::begin(scope, "hash", HASH_STEP, |settled| {
            let mut hash = Hash::new();
            for end in settled {
                hash.go_on(file, end, &Quiet)?;
            }
            Ok(hash)
        })?;
        let sync = Step::begin(scope, "sync", SYNC_STEP, |settled| {
            for _ in &settled {
                // Whatever was told meanwhile is synced with it.
                settled.try_iter().for_each(drop);
                file.sync_data()?;
            }
            Ok(())
        })?;
        Ok(Self { hash, sync })
    }

    /// What lies before this stays as it is.
    pub(super) fn settled(&mut self, end: u64) {
        self.hash.tell(end);
        self.sync.tell(end);
    }

    /// Brings the whole file to the disk, and gives its digest: the one waits for the disk, the other for the processor.
    /// `settled` is how far the file could be followed, less than before when it could not after all.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be written.
    pub(super) fn finish(self, file: &File, settled: u64, progress: &dyn Progress) -> io::Result<Digest> {
        std::thread::scope(|scope| {
            let synced = Builder::new().spawn_scoped(scope, || file.sync_all())?;
            let followed = self.hash.join()?;
            let mut hash = if followed.at <= settled { followed } else { Hash::new() };
            progress.advance(hash.at);
            hash.go_on(file, file.metadata()?.len(), progress)?;
            // An error of the disk is told once for each file that is open (fsync(2)), so by either of the two.
            self.sync.join()?;
            joined(synced)?;
            Ok(hash.finish())
        })
    }
}

/// A thread that is told how far to go.
struct Step<'scope, T> {
    every: u64,
    told: u64,
    to: Sender<u64>,
    thread: ScopedJoinHandle<'scope, io::Result<T>>,
}

impl<'scope, T: Send + 'scope> Step<'scope, T> {
    fn begin(
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        every: u64,
        work: impl FnOnce(Receiver<u64>) -> io::Result<T> + Send + 'scope,
    ) -> io::Result<Self> {
        let (to, settled) = channel();
        let thread = Builder::new().name(name.into()).spawn_scoped(scope, || work(settled))?;
        Ok(Self { every, told: 0, to, thread })
    }

    fn tell(&mut self, end: u64) {
        if end >= self.told.saturating_add(self.every) {
            self.told = end;
            // Should it have ended, `join` gives its error.
            let _ = self.to.send(end);
        }
    }

    fn join(self) -> io::Result<T> {
        drop(self.to);
        joined(self.thread)
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The digest of a file up to some place. Holes are not read, and count as the zeros that they are.
struct Hash {
    hash: Sha256,
    at: u64,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

impl Hash {
    fn new() -> Self {
        Self { hash: Sha256::new(), at: 0, buffer: vec![0; CHUNK], zeros: vec![0; CHUNK] }
    }

    fn go_on(&mut self, file: &File, end: u64, progress: &dyn Progress) -> io::Result<()> {
        while self.at < end {
            let (data, hole) = next_data(file, self.at, end)?;
            while self.at < hole {
                let is_data = self.at >= data;
                let until = if is_data { hole } else { data };
                let len = usize::try_from(until - self.at).unwrap_or(CHUNK).min(CHUNK);
                if is_data {
                    file.read_exact_at(&mut self.buffer[..len], self.at)?;
                    self.hash.update(&self.buffer[..len]);
                } else {
                    self.hash.update(&self.zeros[..len]);
                }
                progress.advance(len as u64);
                self.at += len as u64;
            }
        }
        Ok(())
    }

    fn finish(self) -> Digest {
        Digest::from_hash(self.hash)
    }
}

/// Where the next data is, from its first byte to the next hole. File systems that know nothing of holes say that
/// everything is data (`lseek(2)`).
fn next_data(file: &File, at: u64, end: u64) -> io::Result<(u64, u64)> {
    let data = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(end),
        Err(Errno::NXIO) => return Ok((end, end)),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok((at, end)),
        Err(error) => return Err(error.into()),
    };
    if data == end {
        return Ok((end, end));
    }
    let hole = seek(file, SeekFrom::Hole(data))?.clamp(data, end);
    Ok((data, hole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of a file that was followed, told all of these places on the way.
    fn followed(file: &File, settled: &[u64], last: u64) -> Digest {
        std::thread::scope(|scope| {
            let mut following = Following::begin(scope, file).unwrap();
            settled.iter().for_each(|&end| following.settled(end));
            following.finish(file, last, &Quiet).unwrap()
        })
    }

    #[test]
    fn holes_are_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(b"abc", (1 << 20) + 5).unwrap();
        file.write_all_at(b"end", (3 << 20) - 3).unwrap();
        let mut whole = vec![0; 3 << 20];
        whole[(1 << 20) + 5..][..3].copy_from_slice(b"abc");
        whole[(3 << 20) - 3..].copy_from_slice(b"end");
        assert_eq!(followed(&file, &[], 0), Digest::of(&whole));
        file.set_len(0).unwrap();
        assert_eq!(followed(&file, &[], 0), Digest::of(b""));
        file.set_len(9 << 20).unwrap();
        assert_eq!(followed(&file, &[], 0), Digest::of(&vec![0; 9 << 20]));
    }

    #[test]
    fn what_is_settled_is_not_read_again() {
        let file = tempfile::tempfile().unwrap();
        let whole: Vec<u8> = (0_u32..20 << 20).map(|at| (at % 251) as u8).collect();
        file.write_all_at(&whole, 0).unwrap();
        let every_mib: Vec<u64> = (1..=20).map(|mib| mib << 20).collect();
        assert_eq!(followed(&file, &every_mib, 20 << 20), Digest::of(&whole));
        // Places that are no multiple of anything.
        assert_eq!(followed(&file, &[(4 << 20) + 1, (11 << 20) - 5], (19 << 20) + 7), Digest::of(&whole));
    }

    #[test]
    fn what_was_not_settled_after_all_is_read_again() {
        let file = tempfile::tempfile().unwrap();
        let mut whole = vec![1; 9 << 20];
        file.write_all_at(&whole, 0).unwrap();
        let digest = std::thread::scope(|scope| {
            let mut following = Following::begin(scope, &file).unwrap();
            following.settled(8 << 20);
            file.write_all_at(b"later", 7).unwrap();
            following.finish(&file, 0, &Quiet).unwrap()
        });
        whole[7..12].copy_from_slice(b"later");
        assert_eq!(digest, Digest::of(&whole));
    }
}
