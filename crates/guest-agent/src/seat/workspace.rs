//! The folder on the disk `data`.
//!
//! The disk's file system holds one folder, `workspace`, which is mounted at its place, so that nothing of the file system itself
//! is among a learner's files. The first time it is filled under the name `workspace.new` and then renamed.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use guest_protocol::{GuestPath, Run};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::{copy, place};
use crate::run::resolve_user;

const READY: &str = "workspace";
const FILLING: &str = "workspace.new";

/// Mounts it; `disk` is the disk's mounted file system, whose place is out of reach by now.
pub(super) fn attach(disk: impl AsFd, path: &GuestPath, run: &Run) -> Result<(), String> {
    // Before it is made: whether the image has one decides whose it becomes.
    let in_image = Path::new(path.as_str()).is_dir();
    let place = place::make(Path::new("/"), Path::new(path.as_str()))
        .map_err(|why| format!("{path} cannot be made: {why}"))?;
    fill(&disk, &place, run, in_image)
        .map_err(|why| format!("{path} cannot be given its first content: {why}"))?;
    let mounted = (|| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(&disk, READY, flags)?;
        rustix::mount::move_mount(&tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    })();
    mounted.map_err(|why| format!("the disk \"data\" cannot be mounted at {path}: {why}"))
}

fn fill(disk: &impl AsFd, image: &Path, run: &Run, in_image: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // By the descriptor: no path leads there any more.
    let disk_path = Path::new("/proc/self/fd").join(disk.as_fd().as_raw_fd().to_string());
    let (ready, filling) = (disk_path.join(READY), disk_path.join(FILLING));
    if ready.exists() {
        return Ok(());
    }
    if filling.exists() {
        fs::remove_dir_all(&filling)?;
    }
    fs::create_dir(&filling)?;
    copy::folder(image, &filling)?;
    if !in_image {
        // The image has none, so it is the user's who works there. One who is not in the image is told by the workload.
        if let Ok(user) = resolve_user(&run.user) {
            std::os::unix::fs::chown(&filling, Some(user.uid), Some(user.gid))?;
        }
    }
    rustix::fs::syncfs(fs::File::open(&filling)?)?;
    fs::rename(&filling, &ready)?;
    Ok(rustix::fs::syncfs(fs::File::open(&ready)?)?)
}
