//! The keeper inside a guest, where the host is another one than this: with KVM that works, and with cgroups in every layout that hosts have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vm_testbed::{Console, Initramfs, Kernel, Machine, Need, can_run, skip};

use crate::guest::PATIENCE;

/// A program's libraries, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// What a guest says that runs a script in which `$keeper` is the keeper.
fn run(modules: &[&str], script: &str) -> Result<Console> {
    let kernel = Kernel::find()?;
    let keeper = Path::new(env!("CARGO_BIN_EXE_vmm-keeper"));
    let begin = "keeper=\"$(echo /mnt/ld-linux*) --library-path /mnt /mnt/keeper\"\n";
    let mut archive = Initramfs::new(&kernel, modules, &format!("{begin}{script}"))?;
    archive.file("mnt/keeper", 0o755, &std::fs::read(keeper)?)?;
    for library in libraries(keeper)? {
        let name = library.file_name().and_then(|name| name.to_str()).context("a library without a name")?;
        archive.file(&format!("mnt/{name}"), 0o755, &std::fs::read(&library)?)?;
    }
    // The emulated processor has five levels of page tables, with which nested paging does not work.
    Ok(Machine::new(kernel).argument("no5lvl").argument("quiet").run(archive, PATIENCE)?)
}

/// QEMU emulates a processor with virtualization (AMD's), and the guest's kernel has KVM on that.
#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn the_probe_says_kvm_where_kvm_works() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    if !Kernel::find()?.has_module("kvm-amd") {
        skip("the guest kernel has no module kvm-amd");
        return Ok(());
    }
    let script = r#"
[ -c /dev/kvm ] || echo "probe: no /dev/kvm"
echo "probe: $(echo '{"probe":{"generation":5}}' | $keeper)"
"#;
    let console = run(&["kvm-amd"], script)?;
    let said: Vec<_> = console.after("probe: ").collect();
    ensure!(said == [r#"{"probed":{"trouble":null}}"#], "{said:?}\n{}", console.tail());
    Ok(())
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn a_guest_without_a_timer_ends_before_its_script_runs() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let kernel = Kernel::find()?;
    let archive = Initramfs::new(&kernel, &[], "echo 'guest: runs'\n")?;
    let console = Machine::new(kernel).without_timer().run(archive, PATIENCE)?;
    let said: Vec<_> = console.after("guest: ").collect();
    ensure!(said == ["no timer"], "{said:?}\n{}", console.tail());
    Ok(())
}

/// How a host has its cgroups (cgroups(7); for the hybrid one `docs/CGROUP_DELEGATION.md` of systemd), and where those of a VM are then.
struct Layout {
    /// Mounts them, in the folder where that is.
    mounts: &'static str,
    /// The hierarchies to be in, as `/proc/{pid}/cgroup` calls them and in its order: version 2 has no name.
    used: &'static [&'static str],
    /// The files with the limits of memory, processor and processes; `$one` is the VM's cgroup.
    limits: &'static str,
}

const VERSION_2: Layout =
    Layout { mounts: "version2 .", used: &[""], limits: "$one/memory.max $one/cpu.max $one/pids.max" };

/// Two controllers in one hierarchy, as distributions have it with `cpu` and `cpuacct`.
const VERSION_1: Layout = Layout {
    mounts: "folders
version1 systemd none,name=systemd
version1 memory memory
version1 cpu,pids cpu,pids",
    used: &["cpu,pids", "memory", "name=systemd"],
    limits: "memory/$one/memory.limit_in_bytes \
             cpu,pids/$one/cpu.cfs_quota_us cpu,pids/$one/cpu.cfs_period_us cpu,pids/$one/pids.max",
};

/// All controllers in version 1, one that is not used among them, and beside them version 2 with none that is.
const HYBRID: Layout = Layout {
    mounts: "folders
version2 unified
version1 systemd none,name=systemd
version1 cpuset cpuset
version1 cpu cpu
version1 memory memory
version1 pids pids",
    used: &["", "cpu", "memory", "name=systemd", "pids"],
    limits: "memory/$one/memory.limit_in_bytes \
             cpu/$one/cpu.cfs_quota_us cpu/$one/cpu.cfs_period_us pids/$one/pids.max",
};

/// Memory in version 1, and what is left in version 2.
const OLD_MEMORY: Layout = Layout {
    mounts: "folders
version2 unified
version1 systemd none,name=systemd
version1 memory memory",
    used: &["", "memory", "name=systemd"],
    limits: "memory/$one/memory.limit_in_bytes unified/$one/cpu.max unified/$one/pids.max",
};

/// Memory in version 2, and the processor in version 1.
const NEW_MEMORY: Layout = Layout {
    mounts: "folders
version2 unified
version1 cpu cpu",
    used: &["", "cpu"],
    limits: "unified/$one/memory.max cpu/$one/cpu.cfs_quota_us cpu/$one/cpu.cfs_period_us unified/$one/pids.max",
};

/// A keeper keeps a monitor that is busybox: one that is killed, and one that takes more memory than it may. What the guest says is compared whole.
fn limits_a_vm_and_leaves_nothing(layout: &Layout) -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let launch = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|word| serde_json::json!({"plain": word})).collect();
        serde_json::json!({"launch": {
            "generation": 5, "seat": "demo/1", "monitor": "qemu", "folder": "/mnt/run",
            "program": "/bin/busybox", "arguments": arguments, "descriptors": [],
            "taps": [], "has_folder": true,
            "user": {"uid": 1000, "gid": 1001}, "groups": [],
            "cgroup": {"parent": "clarateach", "name": "one", "memory_bytes": 32 << 20, "cpu_millis": 500, "pids": 16},
            "console": {"path": "/mnt/console.log", "max_bytes": 4096, "files": 1},
        }})
    };
    let script = r#"
folders() { mount -t tmpfs tmpfs /sys/fs/cgroup; }
version1() { mkdir /sys/fs/cgroup/$1; mount -t cgroup -o $2 cgroup /sys/fs/cgroup/$1; }
version2() { mkdir -p /sys/fs/cgroup/$1; mount -t cgroup2 cgroup2 /sys/fs/cgroup/$1; }
MOUNTS
cd /sys/fs/cgroup
find . -type d >/before
one=clarateach/one
mkdir /mnt/run
mkfifo /mnt/in
keep() {
  $keeper </mnt/in >/mnt/out &
  exec 4>/mnt/in
  echo "$1" >&4
  until [ -s /mnt/out ]; do sleep 0.1; done
  echo confirm >&4
  exec 4>&-
}
in_all() { find . -path "./*clarateach/$1/cgroup.procs" -exec cat {} + | sort -u; }
cgroups_of() { echo $(cut -d : -f 2- /proc/$1/cgroup | grep -v ':/$' | sort); }
left() { echo left: $(find . -type d | grep -vxFf /before); }
keep 'SLEEP'
until grep -q confirmed /mnt/out; do sleep 0.1; done
echo "host:" $(cat LIMITS)
vm=$(in_all one)
echo "host: $(cgroups_of $vm)"
echo "host: $(cgroups_of $(in_all keepers))"
echo "host: $(stat -c %u:%g /proc/$vm) in $(readlink /proc/$vm/cwd), $(stat -c %a:%u:%g /mnt/run/vmm)"
kill -9 $vm
wait
echo "host: $(sed 's/,"at.*//' /mnt/run/exit.json) $(echo $(ls /mnt/run)) $(left)"
keep 'GREEDY'
wait
echo "host: $(grep -o '"out_of_memory":[a-z]*' /mnt/run/exit.json || grep -o '"out_of_memory":[a-z]*' /mnt/out) $(left)"
"#;
    let script = script
        .replace("MOUNTS", layout.mounts)
        .replace("LIMITS", layout.limits)
        .replace("SLEEP", &launch(&["sleep", "600"]).to_string())
        .replace("GREEDY", &launch(&["tail", "/dev/zero"]).to_string());
    let console = run(&[], &script)?;
    let said: Vec<_> = console.after("host: ").collect();
    let all = |name: &str| {
        let paths: Vec<_> = layout.used.iter().map(|one| format!("{one}:/clarateach/{name}")).collect();
        paths.join(" ")
    };
    let wanted = [
        "33554432 50000 100000 16",
        &all("one"),
        &all("keepers"),
        "1000:1001 in /mnt/run/vmm, 700:1000:1001",
        r#"{"how":{"signal":9},"out_of_memory":false,"last_words":null exit.json keeper.lock launch.lock left:"#,
        r#""out_of_memory":true left:"#,
    ];
    ensure!(said == wanted, "{said:#?}\n{}", console.tail());
    Ok(())
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn version_2_of_cgroups_limits_a_vm_and_nothing_is_left() -> Result<()> {
    limits_a_vm_and_leaves_nothing(&VERSION_2)
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn version_1_of_cgroups_limits_a_vm_and_nothing_is_left() -> Result<()> {
    limits_a_vm_and_leaves_nothing(&VERSION_1)
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn version_1_with_an_empty_version_2_beside_it_limits_a_vm_and_nothing_is_left() -> Result<()> {
    limits_a_vm_and_leaves_nothing(&HYBRID)
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn memory_of_version_1_and_the_rest_of_version_2_limit_a_vm_and_nothing_is_left() -> Result<()> {
    limits_a_vm_and_leaves_nothing(&OLD_MEMORY)
}

#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn the_processor_of_version_1_and_the_rest_of_version_2_limit_a_vm_and_nothing_is_left() -> Result<()> {
    limits_a_vm_and_leaves_nothing(&NEW_MEMORY)
}
