//! The end of a file: synced and hashed at once, or gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::{Digest, Progress};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

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

/// Brings a file to the disk, and takes its digest meanwhile: the one waits for the disk, the other for the processor.
pub(super) fn sync(file: &File, progress: &dyn Progress) -> io::Result<Digest> {
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| digest(file, progress));
        let synced = file.sync_all();
        let digest = hashing.join().map_err(|_| io::Error::other("the digest of the file failed"))?;
        synced.and(digest)
    })
}

/// The digest of a whole file; holes are not read, and count as the zeros that they are.
pub(super) fn digest(file: &File, progress: &dyn Progress) -> io::Result<Digest> {
    let size = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    let mut buffer = vec![0; CHUNK];
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < size {
        let (data, end) = next_data(file, at, size)?;
        for (from, to, is_data) in [(at, data, false), (data, end, true)] {
            let mut from = from;
            while from < to {
                let len = usize::try_from(to - from).unwrap_or(CHUNK).min(CHUNK);
                if is_data {
                    file.read_exact_at(&mut buffer[..len], from)?;
                    hash.update(&buffer[..len]);
                } else {
                    hash.update(&zeros[..len]);
                }
                progress.advance(len as u64);
                from += len as u64;
            }
        }
        at = end;
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

/// Where the next data is, from its first byte to the next hole. File systems that know nothing of holes say that
/// everything is data (`lseek(2)`).
fn next_data(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let data = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok((at, size)),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(data))?.clamp(data, size);
    Ok((data, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quiet;

    #[test]
    fn holes_are_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(b"abc", (1 << 20) + 5).unwrap();
        file.write_all_at(b"end", (3 << 20) - 3).unwrap();
        let mut whole = vec![0; 3 << 20];
        whole[(1 << 20) + 5..][..3].copy_from_slice(b"abc");
        whole[(3 << 20) - 3..].copy_from_slice(b"end");
        assert_eq!(sync(&file, &Quiet).unwrap(), Digest::of(&whole));
        file.set_len(0).unwrap();
        assert_eq!(digest(&file, &Quiet).unwrap(), Digest::of(b""));
        file.set_len(9 << 20).unwrap();
        assert_eq!(digest(&file, &Quiet).unwrap(), Digest::of(&vec![0; 9 << 20]));
    }
}
