//! The keeper inside a guest, where the host is another one than this: with KVM that works, and with version 2 of cgroups.

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

/// A monitor that is busybox, in cgroups of version 2 as a kernel without version 1 has them.
#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn version_2_of_cgroups_limits_a_vm_and_nothing_is_left() -> Result<()> {
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
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
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
keep 'SLEEP'
until grep -q confirmed /mnt/out; do sleep 0.1; done
echo "v2: $(cat clarateach/one/memory.max) $(cat clarateach/one/cpu.max) $(cat clarateach/one/pids.max)"
echo "v2: $(wc -l <clarateach/one/cgroup.procs) $(wc -l <clarateach/keepers/cgroup.procs)"
vm=$(cat clarateach/one/cgroup.procs)
echo "v2: $(stat -c %u:%g /proc/$vm) in $(readlink /proc/$vm/cwd), $(stat -c %a:%u:%g /mnt/run/vmm)"
kill -9 $vm
wait
echo "v2: $(sed 's/,"at.*//' /mnt/run/exit.json) $(ls -d clarateach 2>&1) $(echo $(ls /mnt/run))"
keep 'GREEDY'
wait
echo "v2: $(grep -o '"out_of_memory":[a-z]*' /mnt/run/exit.json || grep -o '"out_of_memory":[a-z]*' /mnt/out) $(ls -d clarateach 2>&1)"
"#;
    let script = script
        .replace("SLEEP", &launch(&["sleep", "600"]).to_string())
        .replace("GREEDY", &launch(&["tail", "/dev/zero"]).to_string());
    let console = run(&[], &script)?;
    let said: Vec<_> = console.after("v2: ").collect();
    let gone = "ls: clarateach: No such file or directory";
    let wanted = [
        "33554432 50000 100000 16",
        "1 1",
        "1000:1001 in /mnt/run/vmm, 700:1000:1001",
        &format!(
            r#"{{"how":{{"signal":9}},"out_of_memory":false,"last_words":null {gone} exit.json keeper.lock launch.lock"#
        ),
        &format!(r#""out_of_memory":true {gone}"#),
    ];
    ensure!(said == wanted, "{said:#?}\n{}", console.tail());
    Ok(())
}
