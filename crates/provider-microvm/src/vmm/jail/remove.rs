//! Removes a jail with whatever is in it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the jail in this folder, and the folder. That it is not there is success; after a kill in the middle it can be done again. What other files
/// were linked into it keep their other names.
///
/// No monitor may run in it.
///
/// # Errors
/// When something is left, as where something was mounted in it.
pub(in crate::vmm) fn remove(base: &Path) -> io::Result<()> {
    let removed = match openat(CWD, base, FOLDER, Mode::empty()) {
        Ok(folder) => empty(&folder).and_then(|()| fs::remove_dir(base)),
        Err(Errno::NOENT) => Ok(()),
        // A link, or another file: it is no jail, but it has a jail's place.
        Err(Errno::LOOP | Errno::NOTDIR) => fs::remove_file(base),
        Err(why) => Err(why.into()),
    };
    removed.map_err(|why| io::Error::new(why.kind(), format!("removing {}: {why}", base.display())))
}

/// Removes all that is in a folder. Folders in folders are moved up first, so that neither their depth nor the length of their path matters; and a
/// folder is looked into only after it was moved, which the kernel refuses where something is mounted (rename(2)).
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut lifted = 0;
    loop {
        let names = names(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if is_unlinked(top, &name)? {
                continue;
            }
            let name = lift(top, &name, top, &mut lifted)?;
            let folder = openat(top, &name, FOLDER, Mode::empty()).map_err(|why| named(&name, why))?;
            for inner in self::names(&folder)? {
                if !is_unlinked(&folder, &inner)? {
                    lift(&folder, &inner, top, &mut lifted)?;
                }
            }
            unlinkat(top, &name, AtFlags::REMOVEDIR).map_err(|why| named(&name, why))?;
        }
    }
}

/// Removes a file of any kind; false when it is a folder.
fn is_unlinked(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(why) => Err(named(name, why)),
    }
}

/// Moves a folder to the top, under a name that is free there.
fn lift(folder: &OwnedFd, name: &CStr, top: &OwnedFd, lifted: &mut u64) -> io::Result<CString> {
    loop {
        *lifted += 1;
        let new = CString::new(format!("lifted-{lifted}"))?;
        // A removal that was killed may have left some of these names.
        match renameat_with(folder, name, top, &new, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(new),
            Err(Errno::EXIST) => {}
            Err(why) => return Err(named(name, why)),
        }
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let entries = Dir::read_from(folder)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    names.filter(|name| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))).collect()
}

fn named(name: &CStr, why: Errno) -> io::Error {
    let hint = if why == Errno::BUSY { "; something is mounted there, which is to be unmounted" } else { "" };
    let why = io::Error::from(why);
    io::Error::new(why.kind(), format!("{:?}: {why}{hint}", name.to_string_lossy()))
}
