//! Network namespaces with a name: a file on which the namespace is mounted (ip-netns(8)).
//!
//! A thread is in a namespace, not a process. So whatever is done in one is done by a thread of its own that ends afterwards.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// `NSFS_MAGIC` of `linux/magic.h`: what a namespace's file is of.
const NSFS: rustix::fs::FsWord = 0x6e73_6673;

/// The namespace of the thread that looks.
const OWN: &str = "/proc/thread-self/ns/net";

/// Makes one. Its number.
pub(super) async fn create(path: &Path) -> io::Result<u64> {
    let path = path.to_owned();
    thread(move || {
        unshare()?;
        mount(Path::new(OWN), &path)
    })
    .await
}

/// Mounts a namespace that lives on without a name, because a process is in it. Whether there is such a process.
pub(super) fn revive(path: &Path, inode: u64) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let namespace = process.join("ns/net");
        let is_process =
            process.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        if is_process && fs::metadata(&namespace).is_ok_and(|about| about.ino() == inode) {
            // The process may have ended in between.
            return Ok(mount(&namespace, path).is_ok_and(|found| found == inode));
        }
    }
    Ok(false)
}

fn mount(namespace: &Path, path: &Path) -> io::Result<u64> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().create(true).truncate(false).write(true).open(path)?;
    mount_bind(namespace, path)?;
    Ok(fs::metadata(path)?.ino())
}

/// The number of the namespace that is mounted there; nothing when none is.
pub(super) fn number(path: &Path) -> io::Result<Option<u64>> {
    match rustix::fs::statfs(path) {
        Ok(about) if about.f_type == NSFS => Ok(Some(fs::metadata(path)?.ino())),
        Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Takes the name away. The kernel ends the namespace, with all interfaces in it, when no process and no name is left.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    while number(path)?.is_some() {
        unmount(path, UnmountFlags::DETACH)?;
    }
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// Does something in a namespace. The runtime that this is called in is that of what is done, too.
pub(super) async fn inside<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(path)?;
    thread(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
    .await
}

/// Does something in a new namespace that goes away with it, and with the sockets that were opened in it.
pub(super) async fn trial<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    thread(move || {
        unshare()?;
        work()
    })
    .await
}

fn unshare() -> io::Result<()> {
    #[expect(unsafe_code, reason = "rustix marks it so for the sake of the flag FILES")]
    // SAFETY: only the network namespace is left, and no file descriptor's table.
    unsafe {
        Ok(unshare_unsafe(UnshareFlags::NEWNET)?)
    }
}

/// On a thread of its own, which is never used for anything else.
async fn thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name("netns".into()).spawn(move || {
        let _entered = runtime.enter();
        // Whoever asked may have gone.
        drop(done.send(work()));
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace ended")))
}
