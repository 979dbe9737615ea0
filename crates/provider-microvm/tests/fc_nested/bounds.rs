//! What a guest may take of its host.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_protocol::client::Agent;
use provider_microvm::vmm::{LogFile, Serial, Throttle, Vm};

use crate::LIMIT;
use crate::linux::shell;

/// For the disk that the guest has its `/workspace` on.
pub(crate) const SLOW: Throttle = Throttle { bytes_per_second: 1 << 20, operations_per_second: 0 };
const WRITE: &str = "busybox dd if=/dev/zero of=/workspace/much bs=64k count=128 conv=fsync 2>&1";
/// Less than this is no news, however many pages a monitor has for itself.
const MUCH: u64 = 24 << 20;

/// A disk with a limit is no faster than that, however slow the host is, until the limit is taken away under the live guest.
pub(crate) async fn of_its_disk(vm: &Vm, agent: &Agent, disk: &str) {
    let slow = written(agent).await;
    // 8 MiB, of which one is let through at once.
    assert!(slow >= Duration::from_secs(5), "{slow:?}");
    let disk = Serial::new(disk).unwrap();
    vm.set_throttle(&disk, Throttle { bytes_per_second: 0, operations_per_second: 0 }).await.unwrap();
    let fast = written(agent).await;
    println!("8 MiB took {slow:?} with the limit, {fast:?} without");
    assert!(fast * 2 < slow, "{fast:?}: the limit is still there");
}

/// How long it takes to write 8 MiB.
async fn written(agent: &Agent) -> Duration {
    let began = Instant::now();
    let said = shell(agent, WRITE).await;
    assert!(said.contains("128+0 records out"), "{said}");
    began.elapsed()
}

/// The memory that it used and has no use for comes back, without being asked for.
pub(crate) async fn of_its_memory(vm: &Vm, agent: &Agent) {
    let pid = vm.identity().vmm.pid;
    let before = resident(pid);
    shell(agent, "busybox dd if=/dev/zero of=/dev/shm/much bs=1M count=48 2>&1").await;
    let full = resident(pid);
    assert!(full >= before + MUCH, "{before}, then {full}: the guest was to use more");
    shell(agent, "busybox rm /dev/shm/much").await;
    let comes_back = async {
        while resident(pid) > full - MUCH {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, comes_back).await;
    assert!(in_time.is_ok(), "{} of {full} are still there", resident(pid));
    println!("MiB that the monitor had: {}, {}, {}", before >> 20, full >> 20, resident(pid) >> 20);
}

/// Its console is written to files of a bounded size, of which the newest are kept.
pub(crate) async fn of_its_console(agent: &Agent, log: &LogFile) {
    let line = "x".repeat(100);
    let lines = log.max_bytes / 100 * 4;
    let flood = format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo {line}; done >/dev/console; echo the end >/dev/console"
    );
    shell(agent, &flood).await;
    let ends = async {
        while !fs::read_to_string(&log.path).unwrap_or_default().contains("the end") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LIMIT, ends).await.unwrap();
    let name = log.path.file_name().unwrap().to_str().unwrap();
    let sizes = sizes(log.path.parent().unwrap(), name);
    assert!(sizes.len() == log.files as usize, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= log.max_bytes), "{sizes:?}");
}

/// Those of the files of a folder whose names begin like that.
fn sizes(folder: &Path, name: &str) -> Vec<u64> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let logs = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(name));
    logs.map(|entry| entry.metadata().unwrap().len()).collect()
}

/// The memory of a process that is there, in bytes (proc(5)).
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
