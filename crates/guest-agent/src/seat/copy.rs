//! Copying a folder with all that belongs to it. Files with several names become several files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// How deep folders may be.
const DEEPEST: usize = 1000;

/// Copies what is in a folder into one that is there, and gives it the owner, mode and times of the first.
pub(super) fn folder(from: &Path, to: &Path) -> io::Result<()> {
    below(from, to, 0)
}

fn below(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!("{} is too deep", from.display())));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let found = fs::symlink_metadata(&from)?;
        let kind = found.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            below(&from, &to, depth + 1)?;
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(&from)?, &mut File::create_new(&to)?)?;
        } else {
            special(&to, &found)?;
        }
        dress(&from, &to, &found)?;
    }
    dress(from, to, &fs::symlink_metadata(from)?)
}

/// A pipe, a socket or a device.
fn special(to: &Path, found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let kind = if kind.is_fifo() {
        FileType::Fifo
    } else if kind.is_socket() {
        FileType::Socket
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else {
        FileType::CharacterDevice
    };
    Ok(rustix::fs::mknodat(CWD, to, kind, Mode::from_raw_mode(0o600), found.rdev())?)
}

/// Owner, mode, attributes and times.
fn dress(from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    if !found.file_type().is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    attributes(from, to)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Extended attributes (xattr(7)), but for those of the overlay itself.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let size = match rustix::fs::llistxattr(from, &mut names[..]) {
        Ok(size) => size,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(why) => return Err(why.into()),
    };
    for name in names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let size = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        rustix::fs::lsetxattr(to, name, &value[..size], rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_as_it_was() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| from.path().join(name);
        fs::create_dir_all(at("sub/deep")).unwrap();
        fs::write(at("sub/file"), "text").unwrap();
        fs::set_permissions(at("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("nowhere", at("sub/link")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::set_permissions(from.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(at("sub")).unwrap().set_modified(old).unwrap();
        folder(from.path(), to.path()).unwrap();

        let at = |name: &str| to.path().join(name);
        assert_eq!(fs::read_to_string(at("sub/file")).unwrap(), "text");
        assert_eq!(fs::metadata(at("sub/file")).unwrap().mode() & 0o7777, 0o4751);
        assert_eq!(fs::read_link(at("sub/link")).unwrap(), Path::new("nowhere"));
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert!(at("sub/deep").is_dir());
        assert_eq!(fs::metadata(at("sub")).unwrap().modified().unwrap(), old);
        assert_eq!(fs::metadata(to.path()).unwrap().mode() & 0o7777, 0o750);
    }
}
