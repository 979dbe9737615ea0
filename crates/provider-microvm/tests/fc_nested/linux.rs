//! A Linux guest under the monitor, without a provider.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use guest_protocol::client::{Agent, LinkOptions};
use guest_protocol::{ExecRequest, GuestConfig, Mac, Network, Phase, Run, Workspace};
use provider_microvm::vmm::{
    Accelerator, Drive, Firecracker, FirecrackerOptions, InterfaceName, Jailer, KeeperCommand, LogFile,
    MacAddress, Monitor as _, Nic, RunFolder, Serial, Vm, VmSpec,
};
use vm_testbed::{Kernel, Need, nested};

use crate::{LIMIT, Place, bounds};

const TEST: &str = "linux::a_guest_is_a_seat_over_vsock_with_disks_by_their_order";
/// Not the order of their names, and not the one in which the agent looks for them.
const DISKS: [&str; 3] = ["scratch", "data", "root"];
const MAC: [u8; 6] = [2, 0xc7, 10, 213, 9, 2];

#[test]
#[ignore = "needs Firecracker, QEMU, and kernels for an outer and an inner guest"]
fn a_guest_is_a_seat_over_vsock_with_disks_by_their_order() {
    let _place = Place::take();
    nested(TEST, &[Need::Guest, Need::Agent, Need::Firecracker], LIMIT, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(body());
    });
}

async fn body() {
    let folder = tempfile::tempdir().unwrap();
    disks(folder.path());
    for line in ["tuntap add dev ctt0 mode tap", "addr add 10.213.9.1/24 dev ctt0", "link set ctt0 up"] {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
    let monitor = monitor();
    let started = Instant::now();
    let vm = monitor.start(&spec(folder.path())).await.unwrap();
    let agent = reach(&vm, folder.path()).await;
    println!("the agent answers {:.1} s after the start", started.elapsed().as_secs_f64());

    // Who comes while somebody is there waits for his turn, and for no longer.
    let next = reach(&vm, folder.path());
    tokio::pin!(next);
    let soon = tokio::time::timeout(Duration::from_secs(2), &mut next).await;
    assert!(soon.is_err(), "two hosts at once");
    assert_eq!(agent.health().await.unwrap().phase, Phase::Waiting);
    drop(agent);
    let agent = next.await;

    agent.configure(&config()).await.unwrap();
    let mut watch = agent.watch().await.unwrap();
    let health = loop {
        let health = watch.next().await.unwrap().expect("the agent goes on");
        match health.phase {
            Phase::Running if health.workload.pid.is_some() => break health,
            Phase::Failed => panic!("{health:?}\n{}", console(folder.path())),
            _ => {}
        }
    };
    assert_eq!(health.reason, None);
    let said = shell(
        &agent,
        "cat /name; cat /workspace/name; for disk in a b c; do cat /sys/block/vd$disk/ro; done",
    )
    .await;
    assert_eq!(said, "root\ndata\n0\n0\n1");
    let words = shell(&agent, "cat /proc/cmdline").await;
    assert!(words.contains("clarateach.disks=scratch,data,root clarateach.link=vsock:1024"), "{words}");

    let url = "http://10.213.9.2:3001/name";
    assert_eq!(
        run("curl", &["-sf", "-m", "60", "--retry", "20", "--retry-connrefused", url]).trim(),
        "served"
    );

    bounds::of_its_disk(&vm, &agent, "data").await;
    bounds::of_its_memory(&vm, &agent).await;
    bounds::of_its_console(&agent, &console_log(folder.path())).await;

    // Its own end is one of the monitor, and a clean one of its disks.
    agent.stop(Duration::from_secs(10)).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(120), vm.exited()).await.unwrap().unwrap();
    assert_eq!(exit.to_string(), "the guest switched the VM off or restarted it");
    for disk in DISKS {
        run("e2fsck", &["-fn", folder.path().join(disk).to_str().unwrap()]);
    }
    monitor.clear("demo/1", &RunFolder::new(folder.path().join("run"))).await.unwrap();
}

/// Three file systems, each of which says its name; that of the image has a busybox.
fn disks(folder: &Path) {
    let tree = folder.join("tree");
    for disk in DISKS {
        fs::create_dir_all(&tree).unwrap();
        if disk == "root" {
            for name in ["bin", "etc", "www", "proc", "sys", "dev", "tmp", "run", "workspace"] {
                fs::create_dir(tree.join(name)).unwrap();
            }
            fs::copy(Kernel::find().unwrap().busybox(), tree.join("bin/busybox")).unwrap();
            fs::set_permissions(tree.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
            for name in ["sh", "cat"] {
                symlink("busybox", tree.join("bin").join(name)).unwrap();
            }
            fs::write(tree.join("name"), "root\n").unwrap();
            fs::write(tree.join("www/name"), "served\n").unwrap();
        }
        if disk == "data" {
            fs::create_dir(tree.join("workspace")).unwrap();
            fs::write(tree.join("workspace/name"), "data\n").unwrap();
        }
        let file = folder.join(disk);
        run("mke2fs", &["-q", "-t", "ext4", "-d", tree.to_str().unwrap(), file.to_str().unwrap(), "32M"]);
        fs::remove_dir_all(&tree).unwrap();
    }
}

fn monitor() -> Firecracker {
    let keeper = KeeperCommand { program: env!("CARGO_BIN_EXE_vmm-keeper").into(), args: Vec::new() };
    let program = vm_testbed::firecracker().unwrap();
    Firecracker::new(FirecrackerOptions { program, jailer: Jailer::Off, ..FirecrackerOptions::new(keeper) })
}

fn spec(folder: &Path) -> VmSpec {
    let boot = folder.join("boot");
    let report = guest_boot::setup(&guest_boot::SetupOptions {
        from: Some(Kernel::find().unwrap().source().to_owned()),
        agent: vm_testbed::agent().unwrap(),
        folder: boot.clone(),
        unpack: true,
    });
    println!("kernel {}", report.unwrap().version);
    let boot = guest_boot::Boot::open(&boot).unwrap();
    let drive = |serial: &str| Drive {
        path: folder.join(serial),
        serial: Serial::new(serial).unwrap(),
        read_only: serial == "root",
        throttle: (serial == "data").then_some(bounds::SLOW),
    };
    VmSpec {
        seat: "demo/1".into(),
        folder: RunFolder::new(folder.join("run")),
        kernel: boot.kernel(),
        initramfs: boot.initramfs(),
        command_line: "quiet".into(),
        vcpus: 1,
        memory_mib: 192,
        drives: DISKS.into_iter().map(drive).collect(),
        nics: vec![Nic { tap: InterfaceName::new("ctt0").unwrap(), mac: MacAddress(MAC) }],
        network_namespace: None,
        user: None,
        cgroup: None,
        console: console_log(folder),
        accelerator: Accelerator::Kvm,
    }
}

/// Small enough to be filled, and large enough for what the guest says when it starts.
fn console_log(folder: &Path) -> LogFile {
    LogFile { path: folder.join("console.log"), max_bytes: 8 << 10, files: 2 }
}

fn config() -> GuestConfig {
    let mut run = Run { env: vec!["PATH=/bin".into()], ..Run::default() };
    run.entrypoint = ["busybox", "httpd", "-f", "-h", "/www", "-p", "3001"].map(str::to_owned).to_vec();
    let mut config = GuestConfig::new("demo/1", "seat-1", "0123456789abcdef".repeat(2), run);
    config.workspace = Some(Workspace { path: "/workspace".parse().unwrap() });
    config.entropy = vec![7; 64].into();
    let address = [10, 213, 9, 2].into();
    config.network = Some(Network { mac: Mac::new(MAC), address, prefix: 24, gateway: None, mtu: None });
    config
}

async fn reach(vm: &Vm, folder: &Path) -> Agent {
    let options = LinkOptions { connect: LIMIT, call: LIMIT, ping_patience: LIMIT, ..LinkOptions::default() };
    let stream = || async { vm.connect_agent().await.map_err(std::io::Error::other) };
    tokio::select! {
        agent = Agent::reach(stream, options) => {
            agent.unwrap_or_else(|why| panic!("{why}\n{}", console(folder)))
        }
        exit = vm.exited() => panic!("{exit:?}\n{}", console(folder)),
    }
}

pub(crate) async fn shell(agent: &Agent, script: &str) -> String {
    let result = agent.run(&ExecRequest::new(["/bin/sh", "-c", script]), b"", 1 << 16).await.unwrap();
    String::from_utf8(result.out.to_vec()).unwrap().trim_end().to_owned()
}

fn console(folder: &Path) -> String {
    fs::read_to_string(folder.join("console.log")).unwrap_or_default()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
