//! What guests learn of each other through the processor.

use std::fs;

use seats::Finding;

use super::Host;

/// Whether two guests share a core at the same time.
pub(super) fn smt(host: &Host) -> Option<Finding> {
    const NAME: &str = "smt";
    let active = host.read("/sys/devices/system/cpu/smt/active")?;
    Some(if active == "0" {
        Finding::ok(NAME, "no two guests run on one core at the same time")
    } else {
        Finding::warning(
            NAME,
            "simultaneous multithreading is on: guests that share a core can spy on each other",
            "turn it off where learners do not trust each other: echo off >/sys/devices/system/cpu/smt/control, and nosmt on the kernel's command \
             line; it takes up to half of the processors that a host seems to have",
        )
    })
}

/// What the kernel says of the flaws of this processor (Documentation/admin-guide/hw-vuln).
pub(super) fn vulnerabilities(host: &Host) -> Option<Finding> {
    const NAME: &str = "vulnerabilities";
    let folder = host.path("/sys/devices/system/cpu/vulnerabilities");
    let mut names: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let mut open = Vec::new();
    for name in &names {
        let name = name.to_string_lossy();
        let text = host.read(&format!("/sys/devices/system/cpu/vulnerabilities/{name}")).unwrap_or_default();
        // "Mitigation: Clear CPU buffers; SMT vulnerable" is half a mitigation, and "KVM: Vulnerable" none.
        if text.to_ascii_lowercase().contains("vulnerable") || text.starts_with("Unknown") {
            open.push(format!("{name} ({text})"));
        }
    }
    if open.is_empty() {
        return Some(Finding::ok(
            NAME,
            format!("{} are known to this kernel, and none is open", names.len()),
        ));
    }
    let off = host.read("/proc/cmdline").is_some_and(|line| {
        line.split_whitespace().any(|word| word == "mitigations=off" || word.starts_with("mitigations=off,"))
    });
    let remedy = if off {
        "take mitigations=off from the kernel's command line"
    } else {
        "install the newest microcode, firmware and kernel; where this host is itself a virtual machine, that is its host's to do \
         (Documentation/admin-guide/hw-vuln of the kernel has each by its name)"
    };
    Some(Finding::warning(NAME, format!("open in this processor: {}", open.join(", ")), remedy))
}
