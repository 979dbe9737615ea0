//! How a host is set up that runs the seats of people who do not know each other: what Firecracker's docs/prod-host-setup.md and
//! docs/kernel-policy.md advise, and the kernel's Documentation/admin-guide. It concerns QEMU's guests as much: both monitors leave to
//! the host what one guest learns of another through the processor and the memory that they share.
//!
//! Everything is read below a root folder, so that any host can be described by a few files.

use std::fs;
use std::path::{Path, PathBuf};

use seats::Finding;

mod kvm;
mod limits;
mod memory;
mod processor;

/// The kernels that Firecracker is tested with (docs/kernel-policy.md of 1.17).
const TESTED: [(u32, u32); 3] = [(5, 10), (6, 1), (6, 18)];

/// What a kernel tells of itself below `/proc` and `/sys`, or a copy of that.
#[derive(Debug)]
struct Host {
    root: PathBuf,
}

impl Host {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without white space around it; nothing when it is not there.
    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    fn kernel(&self) -> Option<(u32, u32)> {
        version(&self.read("/proc/sys/kernel/osrelease")?)
    }
}

/// Looks at the host below `root`, which is `/`. `cgroup` is the cgroup that those of seats are below. Only what can be told is told: where
/// KVM is not there, for one, nothing is said of its settings.
pub(super) fn check(root: &Path, cgroup: Option<&str>) -> Vec<Finding> {
    let host = Host { root: root.to_owned() };
    let mut findings = Vec::from([kernel(&host), processor::smt(&host), processor::vulnerabilities(&host)]);
    findings.extend([memory::merging(&host), memory::swap(&host, cgroup)]);
    findings.extend([kvm::nested_paging(&host), kvm::huge_pages(&host), kvm::timers(&host)]);
    findings.extend([limits::cgroup_version(&host, cgroup), limits::process(&host)]);
    findings.into_iter().flatten().collect()
}

/// Major and minor number of the release of a kernel: "6.1.0-28-amd64".
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(host: &Host) -> Option<Finding> {
    const NAME: &str = "kernel";
    let release = host.read("/proc/sys/kernel/osrelease")?;
    let found = version(&release)?;
    let tested = TESTED.map(|(major, minor)| format!("{major}.{minor}")).join(", ");
    Some(if found < TESTED[0] {
        Finding::warning(
            NAME,
            format!("Linux {release} is older than all that Firecracker is tested with ({tested})"),
            "take a newer kernel of the distribution",
        )
    } else if TESTED.contains(&found) {
        Finding::ok(NAME, format!("Linux {release}"))
    } else {
        Finding::ok(NAME, format!("Linux {release}; Firecracker is tested with {tested}"))
    })
}

#[cfg(test)]
mod tests;
