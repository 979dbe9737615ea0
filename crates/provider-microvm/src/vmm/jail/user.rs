//! Whether a user is a monitor's alone.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// A process of this user, by its number; nothing when he has none. Two monitors of one user could stop each other and read each other's disks.
pub(in crate::vmm) fn process_of(uid: u32) -> io::Result<Option<u32>> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The folder of a process is its user's (proc_pid(5)). One that has ended meanwhile has none.
        if entry.metadata().is_ok_and(|about| about.uid() == uid) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_a_process_is_told_from_one_without() {
        let own = rustix::process::geteuid().as_raw();
        assert!(process_of(own).unwrap().is_some());
        assert_eq!(process_of(u32::MAX - 7).unwrap(), None);
    }
}
