//! The control group of everything that runs in a seat (kernel: admin-guide/cgroup-v2).

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Makes it, with at most so many processes and threads.
pub(super) fn make(pids: Option<u32>) -> Result<PathBuf, String> {
    let folder = Path::new(ROOT).join("seat");
    let made = (|| {
        fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+pids")?;
        super::folder(&folder)?;
        match pids {
            Some(pids) => fs::write(folder.join("pids.max"), pids.to_string()),
            None => Ok(()),
        }
    })();
    made.map_err(|why| format!("the number of processes cannot be limited by a control group: {why}"))?;
    Ok(folder)
}

/// Ends everything in it.
pub(super) fn kill(folder: &Path) {
    // Before Linux 5.14 there is no such file.
    if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        let _ = crate::run::send(pid, guest_protocol::Signal::KILL, false);
    }
}
