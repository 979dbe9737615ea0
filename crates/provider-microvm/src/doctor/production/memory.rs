//! What becomes of guests' memory.

use seats::Finding;

use super::Host;
use super::limits::cgroups;

/// Whether the kernel merges equal pages of different guests (Documentation/admin-guide/mm/ksm.rst).
pub(super) fn merging(host: &Host) -> Option<Finding> {
    const NAME: &str = "ksm";
    Some(match host.read("/sys/kernel/mm/ksm/run")?.as_str() {
        "1" => Finding::warning(
            NAME,
            "the kernel merges equal pages (KSM), by which a guest finds out what is in the memory of another",
            "echo 2 >/sys/kernel/mm/ksm/run, and disable what turns it on (ksmtuned, ksm.service)",
        ),
        "2" | "0" if host.read("/sys/kernel/mm/ksm/pages_shared").is_none_or(|pages| pages == "0") => {
            Finding::ok(NAME, "the kernel merges no pages of different guests")
        }
        _ => Finding::warning(
            NAME,
            "the kernel no longer merges equal pages (KSM), and those that it merged are still shared",
            "echo 2 >/sys/kernel/mm/ksm/run",
        ),
    })
}

/// Whether memory comes to lie on a disk.
pub(super) fn swap(host: &Host, cgroup: Option<&str>) -> Option<Finding> {
    const NAME: &str = "swap";
    let text = host.read("/proc/swaps")?;
    let places = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let open: Vec<_> = places.filter(|place| !is_safe(host, place)).collect();
    if open.is_empty() {
        return Some(Finding::ok(NAME, "no memory comes to lie on a disk in the clear"));
    }
    let limited = cgroup.and_then(|parent| cgroups(host, parent)).is_some_and(|cgroup| cgroup.limits_swap());
    let guests = if limited {
        "guests' memory is kept from it, that of the service with its keys is not"
    } else {
        "guests' memory with their keys may come to lie there, because only version 2 of cgroups keeps memory from swap"
    };
    Some(Finding::warning(
        NAME,
        format!("memory is swapped to {} in the clear: {guests}", open.join(", ")),
        "swapoff -a, and take the swap out of /etc/fstab; or use one that is encrypted (crypttab(5), with /dev/urandom as the key) or in \
         memory (zram)",
    ))
}

/// Memory of the host's own, or a disk behind dm-crypt.
fn is_safe(host: &Host, place: &str) -> bool {
    let Some(name) = place.strip_prefix("/dev/") else { return false };
    let uuid = host.read(&format!("/sys/block/{name}/dm/uuid"));
    name.starts_with("zram") || uuid.is_some_and(|uuid| uuid.starts_with("CRYPT-"))
}
