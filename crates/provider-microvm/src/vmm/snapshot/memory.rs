//! A guest's memory as a file, which may be in memory itself.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals, memfd_create, seek,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::random;

const PAGE: usize = 4096;
/// As much as is read at a time.
const PIECE: usize = 256 * PAGE;

/// A guest's memory, in whole pages. It is there as long as this is, or somebody has mapped it.
#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
    bytes: u64,
}

impl Memory {
    /// One of zeros, for a guest that is to be saved.
    pub(crate) fn empty(mib: u32) -> io::Result<Self> {
        let bytes = u64::from(mib) << 20;
        let file = File::from(memfd_create("guest-memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(bytes)?;
        Ok(Self { file, bytes })
    }

    /// What a file holds, which nobody can change any more.
    pub(super) fn load(from: &File, mib: u32) -> io::Result<Self> {
        let this = Self::empty(mib)?;
        fallocate(&this.file, FallocateFlags::empty(), 0, this.bytes)?;
        filled(from, this.bytes, |at, page| this.file.write_all_at(page, at))?;
        fcntl_add_seals(
            &this.file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        Ok(this)
    }

    /// What a file holds, in the file itself.
    pub(in crate::vmm) fn of(file: File, mib: u32) -> io::Result<Self> {
        let (bytes, found) = (u64::from(mib) << 20, file.metadata()?.len());
        if found != bytes {
            return Err(io::Error::other(format!("it has {found} bytes, and the guest's memory {bytes}")));
        }
        Ok(Self { file, bytes })
    }

    /// Reads it from the disk, so that it is in the host's memory as far as there is room, and nobody's who goes on from it. Advice alone (`posix_fadvise(2)`) has a
    /// mebibyte read.
    pub(super) fn read_ahead(&self) -> io::Result<()> {
        filled(&self.file, self.bytes, |_, _| Ok(()))
    }

    /// Writes it to an empty file, and tells its digest.
    pub(super) fn save(&self, to: &File) -> io::Result<String> {
        to.set_len(self.bytes)?;
        let mut hash = Sha256::new();
        filled(&self.file, self.bytes, |at, page| {
            hash.update(at.to_le_bytes());
            hash.update(page);
            to.write_all_at(page, at)
        })?;
        Ok(random::digits(&hash.finalize()))
    }

    /// In bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where root may open it, in another process too, while this is there.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

/// The digest of what a file of memory holds: of each page that is not zero, behind its place. So holes need not be read, and do not matter.
pub(super) fn digest(file: &File, bytes: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    filled(file, bytes, |at, page| {
        hash.update(at.to_le_bytes());
        hash.update(page);
        Ok(())
    })?;
    Ok(random::digits(&hash.finalize()))
}

/// Gives every page that is not zero, in order.
fn filled(
    file: &File,
    bytes: u64,
    mut with: impl FnMut(u64, &[u8; PAGE]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data - data % PAGE as u64,
            // Nothing but a hole from here on (lseek(2)).
            Err(Errno::NXIO) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        let end = seek(file, SeekFrom::Hole(data))?.next_multiple_of(PAGE as u64).min(bytes);
        at = data;
        while at < end {
            let size = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            file.read_exact_at(&mut buffer[..size], at)?;
            let (pages, _) = buffer[..size].as_chunks::<PAGE>();
            for page in pages {
                if *page != [0; PAGE] {
                    with(at, page)?;
                }
                at += PAGE as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a mebibyte with something in its second, third and last page, the third of which is zero.
    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"second", PAGE as u64).unwrap();
        file.write_all_at(&[0; PAGE], 2 * PAGE as u64).unwrap();
        file.write_all_at(b"end", (1 << 20) - 3).unwrap();
        file
    }

    #[test]
    fn memory_comes_back_as_it_was() {
        let memory = Memory::load(&file(), 1).unwrap();
        let saved = tempfile::tempfile().unwrap();
        let said = memory.save(&saved).unwrap();
        assert_eq!(said, digest(&saved, 1 << 20).unwrap());
        assert_eq!(said, digest(&file(), 1 << 20).unwrap());
        let mut bytes = vec![1; 1 << 20];
        saved.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[PAGE..].starts_with(b"second\0") && bytes.ends_with(b"\0end"));
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 9);
        // The place is part of it.
        let moved = tempfile::tempfile().unwrap();
        moved.set_len(1 << 20).unwrap();
        moved.write_all_at(b"second", 0).unwrap();
        moved.write_all_at(b"end", (1 << 20) - 3).unwrap();
        assert_ne!(said, digest(&moved, 1 << 20).unwrap());
    }

    #[test]
    fn what_was_loaded_can_be_changed_by_nobody_who_opens_it() {
        use std::os::unix::fs::MetadataExt as _;
        let memory = Memory::load(&file(), 1).unwrap();
        // As QEMU before 8.2 opens it.
        let again = File::options().read(true).write(true).open(memory.path()).unwrap();
        assert_eq!(again.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(again.set_len(0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(again.metadata().unwrap().blocks() * 512, 1 << 20, "all of it is taken");
    }
}
