//! How KVM's modules are set (Documentation/admin-guide/kernel-parameters.txt, `kvm.*`, `kvm-intel.*`, `kvm-amd.*`).

use seats::Finding;

use super::Host;

/// The kernel's own limit of a guest's timers (`arch/x86/kvm/x86.c`).
const TIMER_PERIOD_US: u64 = 200;

/// Whether the processor translates guests' addresses itself.
pub(super) fn nested_paging(host: &Host) -> Option<Finding> {
    const NAME: &str = "nested_paging";
    let modules = [("kvm_intel", "ept"), ("kvm_amd", "npt")];
    let (module, parameter, value) = modules.into_iter().find_map(|(module, parameter)| {
        let value = host.read(&format!("/sys/module/{module}/parameters/{parameter}"))?;
        Some((module, parameter, value))
    })?;
    Some(if matches!(value.as_str(), "Y" | "1") {
        Finding::ok(NAME, format!("the processor translates guests' addresses ({module}.{parameter})"))
    } else {
        Finding::warning(
            NAME,
            format!(
                "KVM translates guests' addresses itself ({module}.{parameter} is {value}): slower, and with much more of the kernel within \
                 guests' reach"
            ),
            format!(
                "load {module} with {parameter}=1; where this host is itself a virtual machine, its host has to offer nested paging to it"
            ),
        )
    })
}

/// Whether a guest can stop a processor by large pages of code, and what is paid for that where it cannot.
pub(super) fn huge_pages(host: &Host) -> Option<Finding> {
    const NAME: &str = "nx_huge_pages";
    let value = host.read("/sys/module/kvm/parameters/nx_huge_pages")?;
    let flaw = host.read("/sys/devices/system/cpu/vulnerabilities/itlb_multihit")?;
    let off = matches!(value.as_str(), "N" | "0" | "off" | "never");
    Some(if flaw != "Not affected" {
        if off {
            Finding::warning(
                NAME,
                format!(
                    "kvm.nx_huge_pages is {value}, and a guest can bring this processor to a halt (itlb_multihit: {flaw})"
                ),
                "load kvm without nx_huge_pages, or with nx_huge_pages=auto",
            )
        } else {
            Finding::ok(NAME, "guests cannot bring this processor to a halt by large pages")
        }
    } else if value == "never" || host.kernel().is_some_and(|found| found < (6, 1)) {
        Finding::ok(NAME, "this processor does not need it")
    } else {
        // A matter of some milliseconds: nothing to be warned of.
        Finding::ok(
            NAME,
            "this processor does not need it: kvm.nx_huge_pages=never makes starts of VMs faster",
        )
    })
}

/// How often a guest may ask to be woken: the kernel's thread that does it for the old timer is in no seat's cgroup.
pub(super) fn timers(host: &Host) -> Option<Finding> {
    const NAME: &str = "kvm_timers";
    let text = host.read("/sys/module/kvm/parameters/min_timer_period_us")?;
    let period = text.parse::<u64>().ok()?;
    Some(if period < TIMER_PERIOD_US {
        Finding::warning(
            NAME,
            format!("a guest may have a timer interrupt every {period} µs, at the cost of all others"),
            format!("load kvm with min_timer_period_us={TIMER_PERIOD_US} or more"),
        )
    } else {
        Finding::ok(NAME, format!("a guest has a timer interrupt every {period} µs at most"))
    })
}
