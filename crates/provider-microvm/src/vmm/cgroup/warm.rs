//! Makes the next moves between cgroups quick.
//!
//! The kernel lets a process move only after a grace period of its RCU, some ten milliseconds, and whoever moves soon after another does not wait
//! again (`cgroup_threadgroup_rwsem` of the kernel's kernel/cgroup/cgroup.c, a `percpu_rw_semaphore` over kernel/rcu/sync.c). A VM's keeper and its
//! monitor move, one after the other, on the way to a VM. What waits for the disk anyway before that can wait for this as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Moves this process to where it is. Takes as long as the kernel's grace period.
///
/// # Errors
/// When the kernel does not let it; then the next moves take their time.
pub(crate) fn warm() -> io::Result<()> {
    let procs = own(&fs::read_to_string("/proc/self/cgroup")?, &fs::read_to_string("/proc/self/mountinfo")?);
    let procs = procs.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    super::write(&procs, "0")
}

/// The file of the cgroup that a process is in, in any hierarchy: `/proc/self/cgroup` (cgroups(7)) tells of each where that is, and `/proc/self/mountinfo`
/// where the hierarchy is mounted, and how much of it.
fn own(cgroups: &str, mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let (mut mount, mut system) = (mount.split(' ').skip(3), system.split(' '));
        let (root, point) = (mount.next()?, mount.next()?);
        let options = match system.next()? {
            "cgroup2" => "",
            "cgroup" => system.nth(1)?,
            _ => return None,
        };
        let path = cgroups.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            let is_it = match options {
                "" => controllers.is_empty(),
                options => {
                    !controllers.is_empty()
                        && controllers.split(',').all(|one| options.split(',').any(|option| option == one))
                }
            };
            is_it.then_some(path)
        })?;
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(point).join(below).join("cgroup.procs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_version_1_and_2_and_in_a_container() {
        let file = |cgroups: &str, mounts: &str| own(cgroups, mounts).map(|path| path.display().to_string());
        let unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            file("0::/system.slice/x.service\n", unified).unwrap(),
            "/sys/fs/cgroup/system.slice/x.service/cgroup.procs"
        );
        let old = "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n";
        let both = "4:memory:/m\n2:cpu,cpuacct:/a/b\n0::/u\n";
        assert_eq!(file(both, old).unwrap(), "/sys/fs/cgroup/cpu,cpuacct/a/b/cgroup.procs");
        let part = "32 24 0:27 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(file("4:memory:/docker/x/y\n", part).unwrap(), "/sys/fs/cgroup/memory/y/cgroup.procs");
        assert_eq!(file("4:memory:/elsewhere\n", part), None);
        assert_eq!(file("", unified), None);
        assert_eq!(file(both, "22 1 8:1 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
