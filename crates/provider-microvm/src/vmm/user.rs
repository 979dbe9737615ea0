//! Whether a user is a monitor's alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// A process of this user, by its number; nothing when he has none. Two monitors of one user could stop each other and read each other's disks.
pub(super) fn process_of(uid: u32) -> io::Result<Option<u32>> {
    find(|user, pid| (user == uid && !has_ended(pid)).then_some(pid))
}

/// The users that have a process, from a number on.
///
/// # Errors
/// When the kernel does not tell its processes.
pub(crate) fn users_from(first: u32) -> io::Result<BTreeSet<u32>> {
    let mut users = BTreeSet::new();
    find(|user, pid| {
        if user >= first && !users.contains(&user) && !has_ended(pid) {
            users.insert(user);
        }
        None::<()>
    })?;
    Ok(users)
}

/// Looks at all processes, by their user and number, until one is what is looked for.
fn find<T>(mut found: impl FnMut(u32, u32) -> Option<T>) -> io::Result<Option<T>> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The folder of a process is its user's (proc_pid(5)). One that has ended meanwhile has none.
        let Ok(about) = entry.metadata() else { continue };
        if let Some(found) = found(about.uid(), pid) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether a process has ended and is not waited for (`proc_pid_stat(5)`), as when its parent was killed: it does nothing to anybody any more.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_a_process_is_told_from_one_without() {
        let own = rustix::process::geteuid().as_raw();
        assert!(process_of(own).unwrap().is_some());
        assert_eq!(process_of(u32::MAX - 7).unwrap(), None);
        assert!(users_from(own).unwrap().contains(&own) && !users_from(own + 1).unwrap().contains(&own));
        assert!(!has_ended(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while !has_ended(child.id()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
