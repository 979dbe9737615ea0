//! Jailed VMs from their start to their end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{How, MonitorKind, Vm, VmmError};
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, DISK, ENDED, NEEDS, firecracker, names};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_vm_is_started_adopted_and_ended() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let vm = bed.start("1").await?;
        bed.hears("1", BareMetal::GREETING).await?;
        ensure!(vm.is_alive()? && vm.identity().monitor == MonitorKind::Firecracker);
        let busy = bed.start("1").await.map(drop).unwrap_err();
        ensure!(matches!(busy.downcast_ref(), Some(VmmError::Busy { .. })), "{busy}");
        let identity = vm.identity().clone();
        drop(vm);

        let vm = bed.adopt("1").await?.context("there is one")?;
        ensure!(vm.identity() == &identity);
        vm.pause().await?;
        vm.resume().await?;
        vm.press_power().await?;
        let exit = vm.exited().await?;
        ensure!(exit.how == How::Code(0), "{exit}");
        ensure!(bed.console("1").contains("1 key"), "{}", bed.console("1"));
        ensure!(!vm.is_alive()? && bed.adopt("1").await?.is_none());
        bed.nothing_left()?;
        ensure!(bed.left("1")? == ENDED, "{:?}", bed.left("1")?);

        // Another one in the same folder, which ends otherwise.
        let vm = bed.start("1").await?;
        vm.kill().await?;
        ensure!(vm.exited().await?.to_string() == "the VM was killed by SIGKILL");
        bed.nothing_left()
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_keeper_that_waits_ends_with_its_namespace_when_nobody_needs_it() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let monitor = bed.monitor()?;
        let expected = monitor.expect();
        // The keeper, and the first process of its namespace.
        while bed.processes()?.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        expected.over().await;
        bed.nothing_left()
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_monitor_is_nobody_and_sees_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let vm = bed.start("1").await?;
        bed.hears("1", BareMetal::GREETING).await?;
        nobody(&bed, &vm)?;
        world(&bed, &vm)?;
        bounds(&bed, &vm)?;
        vm.kill().await.map_err(Into::into)
    })
    .await
}

fn process(pid: i32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Who it is, and who is the first in its namespace.
fn nobody(bed: &Bed, vm: &Vm) -> Result<()> {
    let (init, own) = (vm.identity().vmm.pid, firecracker(vm)?);
    let status = fs::read_to_string(process(own).join("status"))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let user = bed.user("1");
    let (uid, gid) = (user.uid, user.gid);
    ensure!(field("Uid:") == Some(&format!("{uid}\t{uid}\t{uid}\t{uid}")), "{status}");
    ensure!(field("Gid:") == Some(&format!("{gid}\t{gid}\t{gid}\t{gid}")), "{status}");
    ensure!(field("Groups:") == Some(""), "{status}");
    ensure!(field("CapEff:") == Some("0000000000000000"), "{status}");
    ensure!(field("NoNewPrivs:") == Some("1") && field("Seccomp:") == Some("2"), "{status}");
    ensure!(field("NSpid:") == Some(&format!("{own}\t2")), "{status}");
    let first = fs::read_to_string(process(init).join("status"))?;
    ensure!(
        first.contains(&format!("NSpid:\t{init}\t1\n")) && first.contains("Uid:\t0\t0\t0\t0\n"),
        "{first}"
    );
    for space in ["pid", "mnt"] {
        let of = |process: &Path| fs::read_link(process.join("ns").join(space));
        ensure!(of(&process(own))? != of("/proc/self".as_ref())?, "{space}");
    }
    ensure!(fs::read(process(own).join("environ"))?.is_empty());
    Ok(())
}

/// Its whole world: what was staged, what the jailer adds, and the sockets of its own.
fn world(bed: &Bed, vm: &Vm) -> Result<()> {
    let own = process(firecracker(vm)?);
    let jail = vm.identity().jail.as_ref().context("its jail")?;
    let here = fs::metadata(bed.run("1").path().join(jail))?;
    let there = fs::metadata(own.join("root"))?;
    ensure!((there.dev(), there.ino()) == (here.dev(), here.ino()));
    let seen = names(&own.join("root"))?;
    let program = vm_testbed::firecracker()?;
    let program = program.file_name().and_then(|name| name.to_str()).context("its name")?;
    let mut expected = [
        "agent.sock",
        "api.sock",
        "data.img",
        "dev",
        "initramfs",
        "kernel",
        "metrics.pipe",
        "root.img",
        "run",
    ]
    .to_vec();
    let pid = format!("{program}.pid");
    expected.extend([program, &pid]);
    expected.sort_unstable();
    ensure!(seen == expected, "{seen:?}");
    let image = fs::metadata(bed.path("rootfs.ext4"))?;
    ensure!((image.uid(), image.mode() & 0o7777) == (0, 0o644), "the image is somebody else's");
    ensure!(image.ino() == fs::metadata(own.join("root/root.img"))?.ino());
    let disk = fs::metadata(own.join("root/data.img"))?;
    ensure!((disk.uid(), disk.mode() & 0o7777) == (bed.user("1").uid, 0o600));
    Ok(())
}

/// What it may use.
fn bounds(bed: &Bed, vm: &Vm) -> Result<()> {
    let own = firecracker(vm)?;
    let limits = fs::read_to_string(process(own).join("limits"))?;
    let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name));
    let both = |name: &str| limit(name).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    ensure!(both("Max file size") == Some(vec![&*DISK.to_string(); 2]), "{limits}");
    ensure!(both("Max open files") == Some(vec!["1024"; 2]), "{limits}");
    ensure!(both("Max core file size") == Some(vec!["0"; 2]), "{limits}");
    // The limit is none for a program that is given cores by a pipe (core(5)).
    ensure!(fs::read_to_string(process(own).join("coredump_filter"))? == "00000000\n");
    let cgroups = bed.cgroups("1");
    ensure!(!cgroups.is_empty());
    let mut found = Vec::new();
    for folder in &cgroups {
        let read = |name: &str| fs::read_to_string(folder.join(name));
        // KVM of kernels before 6.14 has a thread of the kernel's own there, by which it was asked for memory's sake: it has no command line.
        let processes = read("cgroup.procs")?;
        let line = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let processes: Vec<_> = processes.lines().filter(|pid| !line(pid).is_empty()).collect();
        ensure!(processes == [own.to_string()], "{}: {processes:?}", folder.display());
        for name in ["memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "pids.max"] {
            found.extend(read(name).ok().and_then(|text| text.split_whitespace().next().map(str::to_owned)));
        }
    }
    found.sort();
    ensure!(found == ["150000", &(200 << 20).to_string(), "32"], "{found:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn two_jailed_vms_share_an_image_and_nothing_else() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.make_seat("2")?;
    bed.ended(async {
        let (one, two) = tokio::try_join!(bed.start("1"), bed.start("2"))?;
        bed.hears("1", BareMetal::GREETING).await?;
        bed.hears("2", BareMetal::GREETING).await?;
        let (first, second) = (process(firecracker(&one)?), process(firecracker(&two)?));
        let root =
            |process: &Path, name: &str| anyhow::Ok(fs::metadata(process.join("root").join(name))?.ino());
        ensure!(root(&first, "root.img")? == root(&second, "root.img")?);
        ensure!(root(&first, "data.img")? != root(&second, "data.img")?);
        ensure!(fs::metadata(&first)?.uid() != fs::metadata(&second)?.uid());
        one.kill().await?;
        ensure!(two.is_alive()?);
        two.press_power().await?;
        ensure!(two.exited().await?.how == How::Code(0));
        Ok(())
    })
    .await
}
