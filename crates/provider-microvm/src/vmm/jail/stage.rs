//! Makes a jail.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;

use super::place::{mounted, roomy};
use super::{Access, JailError, JailFile, JailSpec, remove};

/// Removes what was there, and makes the jail with its files. A stale socket is gone with what was there: Firecracker would refuse to listen on
/// it.
///
/// No monitor may run in it. When this process is killed meanwhile, what there is is removed by the next call, or by [`remove()`](fn@remove).
///
/// # Errors
/// When there is no jail afterwards, and why. Nothing is left of it then, but that a seat's own disk may already be its user's.
pub(in crate::vmm) fn stage(spec: &JailSpec) -> Result<(), JailError> {
    spec.check()?;
    remove(&spec.base).map_err(JailError::Remove)?;
    make(spec).inspect_err(|_| {
        // It is the first error that is told.
        drop(remove(&spec.base));
    })
}

fn make(spec: &JailSpec) -> Result<(), JailError> {
    for folder in spec.folders() {
        let making = JailError::io(format!("making {}", folder.display()));
        DirBuilder::new().mode(0o700).create(&folder).map_err(making)?;
    }
    mounted(&spec.base)?;
    roomy(spec)?;
    let root = spec.root();
    let opening = JailError::io(format!("opening {}", root.display()));
    let folder: OwnedFd = File::open(&root).map_err(opening)?.into();
    spec.files.iter().try_for_each(|file| put(spec, file, &folder))
}

fn put(spec: &JailSpec, staged: &JailFile, root: &OwnedFd) -> Result<(), JailError> {
    let JailFile { source, name, access } = staged;
    let failed = |what: &str| JailError::io(format!("{what} {}", source.display()));
    let own = *access == Access::Own;
    // A named pipe would wait for its other end; and a seat's own disk has no other name.
    let flags = if own { OFlags::NONBLOCK | OFlags::NOFOLLOW } else { OFlags::NONBLOCK };
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other).map_err(failed("opening"))?;
    let file = File::options().read(true).write(own).custom_flags(flags).open(source);
    let file = file.map_err(failed("opening"))?;
    let about = file.metadata().map_err(failed("looking at"))?;
    let wrong = if own { trouble_of_own(spec, &about) } else { trouble_of_shared(spec, &about) };
    if let Some(why) = wrong {
        return Err(JailError::File { file: source.clone(), why });
    }
    if own {
        let mode = file.set_permissions(Permissions::from_mode(0o600));
        let given = mode.and_then(|()| fchown(&file, Some(spec.user.uid), Some(spec.user.gid)));
        given.map_err(failed("giving the monitor's user"))?;
    } else if about.mode() & 0o004 == 0 {
        let readable = Permissions::from_mode((about.mode() & 0o7777) | 0o444);
        file.set_permissions(readable).map_err(failed("making readable"))?;
    }
    // By its descriptor: it is the very file that was looked at.
    let this = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
    match linkat(CWD, &this, root, name.as_str(), AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV) => Err(JailError::OtherFileSystem { file: source.clone(), base: spec.base.clone() }),
        Err(why) => Err(failed("linking into the jail")(why.into())),
    }
}

fn trouble_of_own(spec: &JailSpec, about: &fs::Metadata) -> Option<String> {
    if !about.is_file() {
        return Some("is no regular file".into());
    }
    if about.nlink() != 1 {
        // Its other names would get another owner, and its guest would write into them.
        return Some(format!("has {} names, and a seat's own disk has one", about.nlink()));
    }
    let (most, size) = (spec.largest_file, about.len());
    (size > most).then(|| format!("has {size} bytes, and a file of the monitor may have {most}"))
}

fn trouble_of_shared(spec: &JailSpec, about: &fs::Metadata) -> Option<String> {
    if !about.is_file() {
        return Some("is no regular file".into());
    }
    let user = spec.user;
    let mode = about.mode();
    // Whoever owns a file may make it writable.
    let writable =
        about.uid() == user.uid || mode & 0o002 != 0 || (about.gid() == user.gid && mode & 0o020 != 0);
    writable.then(|| {
        "is shared by VMs, and could be written by this one's monitor: make it root's, mode 0644".into()
    })
}
