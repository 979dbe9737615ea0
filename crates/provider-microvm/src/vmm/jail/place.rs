//! Whether jails can be in a folder.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxFlags, statvfs, statx};

use super::{JailError, JailSpec};

/// Looks whether jails can be below a folder whose files are these, which are there. Nothing is changed.
///
/// # Errors
/// With the first thing that is in the way.
pub(crate) fn fits(base: &Path, files: &[&Path]) -> Result<(), JailError> {
    mounted(base)?;
    let mount = |path: &Path| -> Result<_, JailError> {
        // A link is not made between two mounts either that are of one file system (link(2), EXDEV). Before Linux 5.8 mounts have no number here.
        let about = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::MNT_ID);
        let about = about.map_err(io::Error::from);
        let about = about.map_err(JailError::io(format!("looking at {}", path.display())))?;
        let numbered = about.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Ok((about.stx_dev_major, about.stx_dev_minor, numbered.then_some(about.stx_mnt_id)))
    };
    let own = mount(base)?;
    files.iter().try_for_each(|file| match mount(file)? {
        found if found == own => Ok(()),
        _ => Err(JailError::OtherFileSystem { file: (*file).to_owned(), base: base.to_owned() }),
    })
}

/// Whether a monitor can run and open its devices there.
pub(super) fn mounted(base: &Path) -> Result<(), JailError> {
    let looking = JailError::io(format!("looking at the file system of {}", base.display()));
    let flags = statvfs(base).map_err(io::Error::from).map_err(looking)?.f_flag;
    match obstacle(flags) {
        None => Ok(()),
        Some((option, why)) => Err(JailError::Mounted { base: base.to_owned(), option, why }),
    }
}

/// More files than there are in a jail: the jailer's devices and folders, the sockets, and the names that are linked into it.
const FILES: u64 = 64;

/// Whether there is room for what the jailer makes: a copy of the program, and some files. What else writes to the disk meanwhile may take it all the same.
pub(super) fn roomy(spec: &JailSpec) -> Result<(), JailError> {
    // What is wrong with one that is not there is the jailer's to tell.
    let program = fs::metadata(&spec.firecracker).map_or(0, |about| about.len());
    let looking = JailError::io(format!("looking at the file system of {}", spec.base.display()));
    let there = statvfs(&spec.base).map_err(io::Error::from).map_err(looking)?;
    let full = |free: String, needs: String| JailError::Full { base: spec.base.clone(), free, needs };
    // One that counts none has as many as it likes (tmpfs(5), btrfs(5)).
    let free = there.f_bfree.saturating_mul(there.f_frsize);
    if there.f_blocks != 0 && free < program {
        return Err(full(format!("{} KiB left", free >> 10), format!("{} KiB", program.div_ceil(1024))));
    }
    if there.f_files != 0 && there.f_ffree < FILES {
        return Err(full(format!("{} inodes left", there.f_ffree), format!("up to {FILES}")));
    }
    Ok(())
}

/// The option of a mount that is in the way, and what it prevents.
fn obstacle(flags: StatVfsMountFlags) -> Option<(&'static str, &'static str)> {
    let obstacles = [
        (StatVfsMountFlags::NODEV, "nodev", "has to open /dev/kvm there"),
        (StatVfsMountFlags::NOEXEC, "noexec", "is run from there"),
    ];
    obstacles.iter().find(|(flag, ..)| flags.contains(*flag)).map(|(_, option, why)| (*option, *why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_where_no_monitor_runs_is_told() {
        let usual = StatVfsMountFlags::NOSUID | StatVfsMountFlags::RELATIME;
        assert_eq!(obstacle(usual), None);
        for (flag, name) in [(StatVfsMountFlags::NODEV, "nodev"), (StatVfsMountFlags::NOEXEC, "noexec")] {
            let (option, why) = obstacle(usual | flag).unwrap();
            assert_eq!(option, name);
            let error = JailError::Mounted { base: "/x".into(), option, why };
            let said = error.to_string();
            assert!(said.contains(&format!("/x is mounted {name}, and a jailed monitor ")), "{said}");
        }
    }
}
