//! A file system with nothing in it.

use std::fs::File;
use std::io;

use mkext4::{FsBuilder, InodeCount, Options};

use super::sink::Sparse;
use super::{BLOCK, MADE, io_error};

/// The smallest file system that has a journal, in bytes, and room for more than that.
pub const LEAST: u64 = 16 << 20;
/// Bytes of a disk for each inode: what mke2fs(8) takes for file systems of this size.
const BYTES_PER_INODE: u64 = 16 << 10;
/// Blocks of the journal. They take no room on the host before they are used; larger ones would hold back as much of a
/// small disk.
const JOURNAL: u32 = 4096;

/// Writes an empty ext4 of `size` bytes, rounded down to whole blocks, into a file without content. `uuid` is its identity.
/// The file is sparse: what it allocates is its metadata, some 8 KiB for each 128 MiB.
///
/// Nothing waits for the disk: a host that dies right after this may lose it.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when the size is less than [`LEAST`] or 16 TiB and more; else when the file cannot be
/// written.
pub fn empty(file: File, size: u64, uuid: [u8; 16]) -> io::Result<()> {
    let size = size / BLOCK * BLOCK;
    if !(LEAST..super::size::TOO_LARGE).contains(&size) {
        let why = format!("an ext4 of {size} bytes cannot be: {LEAST} bytes to 16 TiB are possible");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut options = Options::new(size, uuid, MADE);
    options.inodes = InodeCount::Exact(u32::try_from(size / BYTES_PER_INODE).unwrap_or(u32::MAX));
    options.reserved_percent = 0;
    options.journal_blocks = Some(JOURNAL.min(u32::try_from(size / BLOCK / 4).unwrap_or(JOURNAL)));
    let layout = FsBuilder::new(options).and_then(FsBuilder::seal).map_err(io_error)?;
    let sink = Sparse::new(file, size)?;
    layout.writer(sink).map_err(io_error)?.finish().map_err(io_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use rstest::rstest;

    use super::*;

    /// `e2fsck`, where there is one.
    fn check(path: &std::path::Path) {
        let Ok(said) = std::process::Command::new("/sbin/e2fsck").arg("-fn").arg(path).output() else {
            println!("SKIPPED: there is no e2fsck");
            return;
        };
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    }

    #[rstest]
    #[case(LEAST)]
    #[case(LEAST + 5000)]
    #[case(100 << 20)]
    #[case(4 << 30)]
    #[case(8 << 30)]
    #[case(64 << 30)]
    fn an_empty_disk_is_whole_and_takes_little(#[case] size: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        empty(File::create_new(&path).unwrap(), size, [7; 16]).unwrap();
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!(about.len(), size / BLOCK * BLOCK);
        let allocated = about.blocks() * 512;
        if size <= 8 << 30 {
            assert!(allocated <= 1 << 20, "{allocated} bytes are allocated");
        }
        check(&path);
    }

    #[rstest]
    #[case(0)]
    #[case(LEAST - 1)]
    #[case(16 << 40)]
    fn other_sizes_are_refused(#[case] size: u64) {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create_new(folder.path().join("disk")).unwrap();
        assert_eq!(empty(file, size, [7; 16]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
