//! What every Linux program expects to be mounted, and changing the root.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_move};

/// Not for programs, not for devices, not for other users' programs.
const BARE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// How much of the memory the file systems in it may take. Nobody can be killed to free what files hold, so together they leave half
/// of it to programs.
const SHM: &str = "mode=1777,size=20%";
const TMP: &str = "mode=1777,size=25%";
const RUN: &str = "mode=0755,size=5%";

/// Mounts `/proc`, `/sys` and `/dev`, and what is below them. It goes on when something fails, and tells all that did.
pub(crate) fn early() -> Vec<String> {
    let mut trouble = Vec::new();
    let mut at = |path: &str, kind: &str, flags, options: &str| {
        let done = folder(Path::new(path)).and_then(|()| put(path, kind, flags, options));
        trouble.extend(done.err().map(|why| format!("{kind} cannot be mounted at {path}: {why}")));
    };
    at("/proc", "proc", BARE, "");
    at("/sys", "sysfs", BARE, "");
    at("/dev", "devtmpfs", MountFlags::NOSUID, "mode=0755");
    at("/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, "gid=5,mode=620,ptmxmode=0666");
    at("/dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, SHM);
    at("/sys/fs/cgroup", "cgroup2", BARE, "");
    for (link, to) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        // Some kernels' own, or there from the first root.
        drop(symlink(to, link));
    }
    trouble
}

/// What needs the seat's own root: `/tmp` and `/run` in memory. A folder in which the image has something is left as it is: a
/// container would see it, too.
pub(crate) fn late() -> Vec<String> {
    let mut trouble = Vec::new();
    for (path, options) in [("/tmp", TMP), ("/run", RUN)] {
        let empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if empty && let Err(why) = folder(Path::new(path)).and_then(|()| tmpfs(path, options)) {
            trouble.push(format!("no memory file system at {path}: {why}"));
        }
    }
    // Docker makes it, and df reads it.
    drop(symlink("/proc/mounts", "/etc/mtab"));
    trouble
}

/// A file system in memory.
pub(crate) fn tmpfs(path: &str, options: &str) -> io::Result<()> {
    put(path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)
}

fn put(path: &str, kind: &str, flags: MountFlags, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    match mount(kind, path, kind, flags, Some(options.as_c_str())) {
        // The kernel had it mounted already.
        Err(rustix::io::Errno::BUSY) => Ok(()),
        done => Ok(done?),
    }
}

/// Makes sure that there is a folder; what is there and none is replaced.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    match fs::create_dir_all(path) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Lays a folder that can be written to over one that cannot. Both folders of the upper file system are made; the first time the
/// upper one gets the owner and mode of the lower one, which are the root's from then on.
pub(crate) fn overlay(lower: &Path, upper_disk: &Path, at: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (upper, work) = (upper_disk.join("upper"), upper_disk.join("work"));
    if !upper.exists() {
        let found = fs::metadata(lower)?;
        folder(&upper)?;
        chown(&upper, Some(found.uid()), Some(found.gid()))?;
        fs::set_permissions(&upper, found.permissions())?;
    }
    folder(&work)?;
    folder(at)?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let options = std::ffi::CString::new(options)?;
    Ok(mount("overlay", at, "overlay", MountFlags::NODEV, Some(options.as_c_str()))?)
}

/// Makes a mounted folder the root of this process and all that follow. The mounts that were named move into it. (A root that
/// the kernel unpacked cannot be pivoted: it is covered instead.)
pub(crate) fn become_root(new: &Path, moved: &[&str]) -> io::Result<()> {
    for path in moved {
        let to = new.join(path.trim_start_matches('/'));
        folder(&to)?;
        mount_move(*path, &to)?;
    }
    rustix::process::chdir(new)?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    Ok(rustix::process::chdir("/")?)
}
