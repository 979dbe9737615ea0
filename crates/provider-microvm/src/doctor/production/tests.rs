//! Hosts, each described by the files that differ.

use seats::Level;
use tempfile::TempDir;

use super::*;

const MOUNTS: &str = "28 27 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const MOUNTS_1: &str = "\
30 27 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
31 27 0:27 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
32 27 0:28 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu,cpuacct
";
const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max file size             unlimited            unlimited            bytes     
Max data size             unlimited            unlimited            bytes     
Max processes             96365                96365                processes 
Max open files            20000                20000                files     
Max address space         unlimited            unlimited            bytes     
";
const VULNERABILITIES: &str = "sys/devices/system/cpu/vulnerabilities";

/// A host on which everything is as advised, with some files changed or added.
fn host(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let good = [
        ("proc/sys/kernel/osrelease", "6.1.0-28-amd64\n"),
        ("proc/cmdline", "root=/dev/vda1 nosmt\n"),
        ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
        ("proc/self/limits", LIMITS),
        ("proc/self/mountinfo", MOUNTS),
        ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
        ("sys/fs/cgroup/clarateach/memory.swap.max", "max\n"),
        ("sys/devices/system/cpu/smt/active", "0\n"),
        ("sys/devices/system/cpu/vulnerabilities/mds", "Not affected\n"),
        ("sys/devices/system/cpu/vulnerabilities/itlb_multihit", "Not affected\n"),
        ("sys/devices/system/cpu/vulnerabilities/spectre_v1", "Mitigation: usercopy/swapgs barriers\n"),
        ("sys/kernel/mm/ksm/run", "0\n"),
        ("sys/kernel/mm/ksm/pages_shared", "0\n"),
        ("sys/module/kvm_amd/parameters/npt", "Y\n"),
        ("sys/module/kvm/parameters/nx_huge_pages", "never\n"),
        ("sys/module/kvm/parameters/min_timer_period_us", "200\n"),
    ];
    for (path, text) in good.iter().chain(files) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn findings(files: &[(&str, &str)]) -> Vec<Finding> {
    check(host(files).path(), Some("clarateach"))
}

/// What is said under one name, when everything else is well.
#[track_caller]
fn warned(name: &str, files: &[(&str, &str)]) -> Finding {
    let mut bad: Vec<_> = findings(files).into_iter().filter(|finding| finding.level != Level::Ok).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    let bad = bad.remove(0);
    assert_eq!((bad.name, bad.level), (name, Level::Warning), "{bad:?}");
    assert!(bad.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()), "{bad:?}");
    bad
}

/// What is said under one name, when it is well.
#[track_caller]
fn told(name: &str, files: &[(&str, &str)]) -> String {
    let found = findings(files).into_iter().find(|finding| finding.name == name);
    let found = found.unwrap_or_else(|| panic!("nothing of {name}"));
    assert_eq!(found.level, Level::Ok, "{found:?}");
    found.detail
}

#[test]
fn a_host_as_advised_has_no_warning() {
    let findings = findings(&[]);
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");
    let names: Vec<_> = findings.iter().map(|finding| finding.name).collect();
    let all = [
        "kernel",
        "smt",
        "vulnerabilities",
        "ksm",
        "swap",
        "nested_paging",
        "nx_huge_pages",
        "kvm_timers",
        "cgroup_version",
        "limits",
    ];
    assert_eq!(names, all);
}

#[test]
fn nothing_is_said_of_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(check(folder.path(), Some("clarateach")), []);
    assert_eq!(check(folder.path(), None), []);
}

#[test]
fn kernels_are_told_by_their_version() {
    let release = |text| [("proc/sys/kernel/osrelease", text)];
    assert!(told("kernel", &release("6.18.44-cloud")).ends_with("6.18.44-cloud"));
    assert!(told("kernel", &release("6.12.3")).contains("is tested with 5.10, 6.1, 6.18"));
    let old = warned("kernel", &release("5.4.0-200-generic"));
    assert!(old.detail.starts_with("Linux 5.4.0-200-generic is older"), "{old:?}");
    assert_eq!((version("6"), version("rolling")), (None, None));
}

#[test]
fn guests_that_share_a_core_are_warned_of() {
    let found = warned("smt", &[("sys/devices/system/cpu/smt/active", "1\n")]);
    assert!(found.remedy.unwrap().contains("nosmt"));
}

#[test]
fn flaws_of_the_processor_are_named() {
    let file = |name: &str| format!("{VULNERABILITIES}/{name}");
    let found = warned(
        "vulnerabilities",
        &[
            (&file("mds"), "Mitigation: Clear CPU buffers; SMT vulnerable\n"),
            (&file("l1tf"), "KVM: Vulnerable\n"),
            (&file("srbds"), "Unknown: Dependent on hypervisor status\n"),
        ],
    );
    for part in ["l1tf (KVM: Vulnerable), mds (Mitigation", "srbds (Unknown"] {
        assert!(found.detail.contains(part), "{found:?}");
    }
    assert!(!found.detail.contains("spectre_v1"), "{found:?}");
    assert!(found.remedy.unwrap().contains("microcode"));
    let off = warned(
        "vulnerabilities",
        &[(&file("mds"), "Vulnerable\n"), ("proc/cmdline", "quiet mitigations=off\n")],
    );
    assert!(off.remedy.unwrap().contains("mitigations=off"));
}

#[test]
fn merged_pages_are_warned_of_also_when_they_are_left_over() {
    assert!(warned("ksm", &[("sys/kernel/mm/ksm/run", "1\n")]).detail.contains("finds out"));
    let left = warned("ksm", &[("sys/kernel/mm/ksm/pages_shared", "17\n")]);
    assert!(left.detail.contains("still shared"), "{left:?}");
}

#[test]
fn swap_on_a_disk_is_warned_of_unless_it_is_encrypted() {
    let swaps = |place: &str| format!("Filename Type Size Used Priority\n{place} partition 1048572 0 -2\n");
    told("swap", &[("proc/swaps", &swaps("/dev/zram0"))]);
    let crypt = [("proc/swaps", &*swaps("/dev/dm-3")), ("sys/block/dm-3/dm/uuid", "CRYPT-PLAIN-swap\n")];
    told("swap", &crypt);
    let logical = [("proc/swaps", &*swaps("/dev/dm-3")), ("sys/block/dm-3/dm/uuid", "LVM-abc\n")];
    assert!(warned("swap", &logical).detail.contains("/dev/dm-3"));
    let found = warned("swap", &[("proc/swaps", &swaps("/swapfile"))]);
    assert!(found.detail.contains("/swapfile") && found.detail.contains("kept from it"), "{found:?}");
    // Version 1, whatever it counts.
    let first = [("proc/swaps", &*swaps("/dev/sda2")), ("proc/self/mountinfo", MOUNTS_1)];
    assert!(warned("swap", &first).detail.contains("only version 2"));
    let limited = [&first[..], &[("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "1\n")]].concat();
    assert!(warned("swap", &limited).detail.contains("only version 2"));
    // Without cgroups nothing keeps anything.
    let found = check(host(&first).path(), None);
    let found = found.iter().find(|finding| finding.name == "swap").unwrap();
    assert!(found.detail.contains("may come to lie there"), "{found:?}");
}

#[test]
fn kvm_without_nested_paging_is_warned_of() {
    let found = warned("nested_paging", &[("sys/module/kvm_amd/parameters/npt", "0\n")]);
    assert!(found.detail.contains("kvm_amd.npt is 0"), "{found:?}");
    assert!(
        told("nested_paging", &[("sys/module/kvm_intel/parameters/ept", "Y\n")]).contains("kvm_intel.ept")
    );
}

#[test]
fn large_pages_depend_on_the_processor() {
    const PARAMETER: &str = "sys/module/kvm/parameters/nx_huge_pages";
    const FLAW: &str = "sys/devices/system/cpu/vulnerabilities/itlb_multihit";
    const MITIGATED: &str = "KVM: Mitigation: Split huge pages\n";
    told("nx_huge_pages", &[(FLAW, MITIGATED), (PARAMETER, "Y\n")]);
    for off in ["N\n", "never\n"] {
        assert!(warned("nx_huge_pages", &[(FLAW, MITIGATED), (PARAMETER, off)]).detail.contains("halt"));
    }
    assert!(told("nx_huge_pages", &[(PARAMETER, "N\n")]).contains("=never makes"));
    let older = [(PARAMETER, "N\n"), ("proc/sys/kernel/osrelease", "5.10.0")];
    assert!(!told("nx_huge_pages", &older).contains("never"));
}

#[test]
fn timers_without_a_limit_are_warned_of() {
    const PARAMETER: &str = "sys/module/kvm/parameters/min_timer_period_us";
    assert!(warned("kvm_timers", &[(PARAMETER, "0\n")]).detail.contains("every 0 µs"));
    assert!(told("kvm_timers", &[(PARAMETER, "500\n")]).contains("every 500 µs"));
}

#[test]
fn versions_of_cgroups_are_told() {
    assert_eq!(told("cgroup_version", &[]), "version 2: memory, cpu, pids");
    let first = [("proc/self/mountinfo", MOUNTS_1)];
    assert_eq!(told("cgroup_version", &first), "version 1: memory, pids, cpu");
    let mixed =
        format!("{}{MOUNTS}", MOUNTS_1.lines().skip(1).fold(String::new(), |all, line| all + line + "\n"));
    let mixed = [("proc/self/mountinfo", &*mixed)];
    assert_eq!(told("cgroup_version", &mixed), "version 1: pids, cpu; version 2: memory");
}

#[test]
fn limits_that_monitors_inherit_are_warned_of() {
    let limits = LIMITS
        .replace("Max file size             unlimited", "Max file size             1048576")
        .replace("96365  ", "64     ");
    let found = warned("limits", &[("proc/self/limits", &limits)]);
    assert!(found.detail.contains("Max file size is 1048576"), "{found:?}");
    assert!(found.detail.contains("Max processes is 64, at least 256"), "{found:?}");
}
