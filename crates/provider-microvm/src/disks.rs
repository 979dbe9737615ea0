//! A seat's own disks: what it writes over the image, and its workspace.
//!
//! Both are sparse files with an empty ext4. Nothing is copied, so making them costs milliseconds and no room, whatever the
//! size of the image.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::state::SeatFolder;

/// How large a seat's disks are to be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) scratch: u64,
    pub(crate) data: u64,
}

/// Makes those disks that are not there. One that is there stays as it is, and grows when it is smaller than it is to be;
/// the guest grows the file system in it.
pub(crate) fn ensure(folder: &SeatFolder, sizes: Sizes) -> io::Result<()> {
    // Most of it is laying out file systems, which two processors do at once.
    std::thread::scope(|scope| {
        let scratch = scope.spawn(|| disk(&folder.scratch(), sizes.scratch));
        let data = disk(&folder.data(), sizes.data);
        scratch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(data)
    })
}

fn disk(path: &Path, size: u64) -> io::Result<()> {
    match File::options().write(true).open(path) {
        Ok(file) => {
            if file.metadata()?.len() < size {
                file.set_len(size)?;
            }
            Ok(())
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => make(path, size),
        Err(why) => Err(why),
    }
}

/// A disk has its name only when it is whole: half a file system would be taken for the learner's.
fn make(path: &Path, size: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
    let made = crate::random::bytes::<16>().and_then(|uuid| rootfs::ext4::empty(file, size, uuid));
    made.and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        // It is the first error that is told; what stays goes with the seat's folder.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;
    use crate::state::StateDir;

    const SIZES: Sizes = Sizes { scratch: 4 << 30, data: 8 << 30 };

    fn folder() -> (tempfile::TempDir, SeatFolder) {
        let at = tempfile::tempdir().unwrap();
        let state = StateDir::open(at.path()).unwrap();
        let seat = seats::SeatRef::new("abc".parse().unwrap(), seats::SeatBound::default().seat(1).unwrap());
        let folder = state.seat(&seat);
        folder.make().unwrap();
        (at, folder)
    }

    #[test]
    fn disks_are_large_and_take_little() {
        let (_at, folder) = folder();
        ensure(&folder, SIZES).unwrap();
        for (path, size) in [(folder.scratch(), SIZES.scratch), (folder.data(), SIZES.data)] {
            let about = fs::metadata(&path).unwrap();
            assert_eq!((about.len(), about.permissions().mode() & 0o777), (size, 0o600));
            assert!(
                about.blocks() * 512 <= 1 << 20,
                "{} allocates {} blocks",
                path.display(),
                about.blocks()
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_stays_and_grows() {
        let (_at, folder) = folder();
        fs::write(folder.data(), b"homework").unwrap();
        ensure(&folder, SIZES).unwrap();
        assert_eq!(fs::metadata(folder.data()).unwrap().len(), SIZES.data);
        let mut start = [0; 8];
        File::open(folder.data()).unwrap().read_exact(&mut start).unwrap();
        assert_eq!(&start, b"homework");
        ensure(&folder, Sizes { data: 1 << 30, ..SIZES }).unwrap();
        assert_eq!(fs::metadata(folder.data()).unwrap().len(), SIZES.data, "it does not shrink");
    }

    #[test]
    fn what_was_half_made_is_made_anew() {
        let (_at, folder) = folder();
        fs::write(folder.path().join("data.new"), b"half").unwrap();
        ensure(&folder, SIZES).unwrap();
        assert_eq!(fs::metadata(folder.data()).unwrap().len(), SIZES.data);
        assert!(!folder.path().join("data.new").exists());
    }
}
