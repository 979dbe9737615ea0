//! What processes are limited by: seats by their cgroups, and monitors, which inherit them, by the limits of this process.

use seats::Finding;

use super::Host;
use crate::vmm::cgroup::Cgroup;

/// Threads and processes of one monitor with its keeper. QEMU makes some for reading and writing as it needs them.
const PROCESSES: u64 = 256;

/// The cgroups of a host; nothing when it has none that can be used, which is a finding of its own.
pub(super) fn cgroups(host: &Host, parent: &str) -> Option<Cgroup> {
    Cgroup::among(&host.read("/proc/self/mountinfo")?, &host.root, parent, "doctor").ok()
}

/// Which version limits seats.
pub(super) fn cgroup_version(host: &Host, parent: Option<&str>) -> Option<Finding> {
    Some(Finding::ok("cgroup_version", cgroups(host, parent?)?.versions()))
}

/// The limits that monitors inherit (getrlimit(2)).
pub(super) fn process(host: &Host) -> Option<Finding> {
    const NAME: &str = "limits";
    let text = host.read("/proc/self/limits")?;
    let mut short = Vec::new();
    for (name, needed, why) in [
        ("Max file size", None, "disks of seats are files"),
        ("Max address space", None, "monitors map their guests' memory"),
        ("Max data size", None, "monitors map their guests' memory"),
        ("Max processes", Some(PROCESSES), "a monitor has so many threads at most"),
    ] {
        let Some(soft) = soft(&text, name) else { continue };
        match (soft.parse::<u64>(), needed) {
            // "unlimited".
            (Err(_), _) => {}
            (Ok(found), Some(needed)) if found >= needed => {}
            (Ok(found), Some(needed)) => {
                short.push(format!("{name} is {found}, at least {needed} is needed: {why}"));
            }
            (Ok(found), None) => short.push(format!("{name} is {found}, and is to be unlimited: {why}")),
        }
    }
    Some(if short.is_empty() {
        Finding::ok(NAME, "monitors of seats have no limits by this process that are too low")
    } else {
        Finding::warning(
            NAME,
            short.join("; "),
            "raise it for the service: LimitFSIZE=, LimitAS=, LimitDATA=, LimitNPROC= in the unit, ulimit in a shell",
        )
    })
}

/// The soft limit of one line of `/proc/self/limits`.
fn soft<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}
