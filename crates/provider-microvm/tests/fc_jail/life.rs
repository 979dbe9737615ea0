//! A jailed VM from its start to its end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::jail;
use tokio::process::{Child, Command};
use vm_testbed::{BareMetal, can_run};

use crate::jailed::{Ground, LARGEST, NEEDS, POWERS, USER};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_guest_says_hello_and_nothing_of_it_is_left() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let ground = Ground::new().await?;
    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    let (status, version) = vm.ask("GET", "/version", "").await?;
    ensure!(status == 200 && version.contains("firecracker_version"), "{status} {version}");
    vm.boot().await?;
    vm.hear(BareMetal::GREETING).await?;
    vm.say("one\n").await?;
    vm.hear("1 one\n").await?;
    vm.say("reset\n").await?;
    vm.hear("2 reset\n").await?;
    let status = vm.ended().await?;
    ensure!(status.code() == Some(0), "{status}");
    drop(vm);
    ground.clear()
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_monitor_is_nobody_and_sees_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let mut ground = Ground::new().await?;
    let (_holder, namespace) = namespace().await?;
    ground.spec.network_namespace = Some(namespace.clone());
    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    vm.boot().await?;
    vm.hear(BareMetal::GREETING).await?;
    let process = std::path::Path::new("/proc").join(vm.pid.as_raw_nonzero().to_string());

    let status = fs::read_to_string(process.join("status"))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (uid, gid) = (USER.uid, USER.gid);
    ensure!(field("Uid:") == Some(&format!("{uid}\t{uid}\t{uid}\t{uid}")), "{status}");
    ensure!(field("Gid:") == Some(&format!("{gid}\t{gid}\t{gid}\t{gid}")), "{status}");
    ensure!(field("Groups:") == Some(""), "{status}");
    ensure!(field("CapEff:") == Some("0000000000000000"), "{status}");
    ensure!(field("Seccomp:") == Some("2"), "{status}");
    ensure!(field("NSpid:") == Some(&format!("{}\t1", vm.pid.as_raw_nonzero())), "{status}");
    for space in ["pid", "mnt"] {
        let of = |process: &std::path::Path| fs::read_link(process.join("ns").join(space));
        ensure!(of(&process)? != of("/proc/self".as_ref())?, "{space}");
    }
    ensure!(fs::read_link(process.join("ns/net"))? == fs::read_link(&namespace)?, "another network");
    let limits = fs::read_to_string(process.join("limits"))?;
    let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name));
    let both = |name: &str| limit(name).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    ensure!(both("Max file size") == Some(vec![&*LARGEST.to_string(); 2]), "{limits}");
    ensure!(both("Max open files") == Some(vec!["2048"; 2]), "{limits}");
    ensure!(fs::read(process.join("environ"))?.is_empty());

    // Its whole world: what was staged, what the jailer adds, and the sockets of its own.
    let there = fs::metadata(process.join("root"))?;
    let here = fs::metadata(ground.spec.root())?;
    ensure!((there.dev(), there.ino()) == (here.dev(), here.ino()));
    let program = ground.spec.firecracker.file_name().and_then(|name| name.to_str()).context("its name")?;
    let mut seen: Vec<_> = fs::read_dir(process.join("root"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    seen.sort();
    let mut expected = ["guest.elf", "rootfs.ext4", "data.img", "api.sock", "v.sock", "dev", "run"]
        .map(str::to_owned)
        .to_vec();
    expected.extend([program.to_owned(), format!("{program}.pid")]);
    expected.sort();
    ensure!(seen == expected, "{seen:?}");
    let image = fs::metadata(ground.path().join("rootfs.ext4"))?;
    ensure!((image.uid(), image.mode() & 0o777) == (0, 0o644), "the image is somebody else's");

    let cgroups = ground.cgroups();
    ensure!(!cgroups.is_empty());
    let mut found = Vec::new();
    for folder in &cgroups {
        let read = |name: &str| fs::read_to_string(folder.join(name));
        // KVM of kernels before 6.14 has a thread of the kernel's own there, by which it was asked for memory's sake: it has no command line.
        let processes = read("cgroup.procs")?;
        let line = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let processes: Vec<_> = processes.lines().filter(|pid| !line(pid).is_empty()).collect();
        ensure!(processes == [vm.pid.as_raw_nonzero().to_string()], "{}: {processes:?}", folder.display());
        for name in ["memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "pids.max"] {
            found.extend(read(name).ok().and_then(|text| text.split_whitespace().next().map(str::to_owned)));
        }
    }
    found.sort();
    let memory = ground.limits.memory_bytes.to_string();
    ensure!(found == ["150000", &memory, "32"], "{found:?}");

    vm.kill()?;
    let status = vm.ended().await?;
    ensure!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "{status}");
    drop(vm);
    ground.clear()
}

/// A network namespace, by its file, and the process that it is there for: one with the jailer's powers and no more, since that is whose file a jailer
/// may open (ptrace(2)).
async fn namespace() -> Result<(Child, PathBuf)> {
    let mut holder = Command::new("setpriv");
    holder.args([&format!("--bounding-set={POWERS}"), "unshare", "--net", "sleep", "600"]);
    let holder = holder.kill_on_drop(true).spawn()?;
    let file = PathBuf::from(format!("/proc/{}/ns/net", holder.id().context("it runs")?));
    while fs::read_link(&file)? == fs::read_link("/proc/self/ns/net")? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((holder, file))
}
