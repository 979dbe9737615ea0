//! The floor: the same guest on the same machine, started by hand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::host::Host;
use super::seat::{LOOK, agent_is_up};
use crate::bench::objects::{CPUS, MEMORY_MIB};

/// What the service gives the kernel of a guest that is translated.
const COMMAND_LINE: &str =
    "console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000 tsc=reliable quiet";
/// The disks of a seat, and which of them the guest may write.
const DISKS: [(&str, bool); 3] = [("root", false), ("scratch", true), ("data", true)];
/// What a disk has. The guest looks at none of them before its agent is up.
const DISK_BYTES: u64 = 64 << 20;
/// Far longer than any boot takes.
const HANG: Duration = Duration::from_secs(240);

/// What the command took.
pub(super) struct Bare {
    /// From the start of QEMU until its control socket has answered, the processors still stopped.
    pub(super) answer: Duration,
    /// From there, with the processors running, until the agent waits for its host.
    pub(super) boot: Duration,
}

/// Boots the guest once.
pub(super) async fn boot(host: &Host) -> Result<Bare> {
    let folder = host.folder().join("bare");
    std::fs::create_dir(&folder)?;
    let booted = booted(host, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    booted
}

async fn booted(host: &Host, folder: &Path) -> Result<Bare> {
    let console = folder.join("console.log");
    let control = folder.join("qmp.sock");
    let mut qemu = command(host, folder, &console, &control)?;
    let began = Instant::now();
    let mut child = qemu.spawn().context("qemu-system-x86_64 cannot be run")?;
    let mut qmp = loop {
        // It is made and listened at in two steps.
        match UnixStream::connect(&control).await {
            Ok(stream) => break BufReader::new(stream),
            Err(_) => wait(&mut child, began).await?,
        }
    };
    asked(&mut qmp, "qmp_capabilities").await?;
    let answer = began.elapsed();
    asked(&mut qmp, "cont").await?;
    while !agent_is_up(&console) {
        wait(&mut child, began).await?;
    }
    let boot = began.elapsed() - answer;
    child.kill().await?;
    Ok(Bare { answer, boot })
}

fn command(host: &Host, folder: &Path, console: &Path, control: &Path) -> Result<Command> {
    let (kernel, initramfs) = host.boot()?;
    let listening = |path: &Path| format!("path={},server=on,wait=off", path.display());
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "microvm,pit=on,pic=on,rtc=on,acpi=on", "-accel", "tcg,tb-size=128", "-cpu", "max"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"])
        .args(["-smp", &CPUS.to_string(), "-m", &format!("{MEMORY_MIB}M")])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE, "-chardev", "stdio,id=console,signal=off"])
        .args(["-serial", "chardev:console", "-netdev", "hubport,id=net,hubid=0"])
        .args(["-device", "virtio-net-device,netdev=net", "-device", "virtio-serial-device"])
        .arg("-chardev")
        .arg(format!("socket,id=agent,{}", listening(&folder.join("agent.sock"))))
        .args(["-device", "virtserialport,chardev=agent,name=clarateach.agent"])
        .args(["-object", "rng-builtin,id=entropy", "-device", "virtio-rng-device,rng=entropy"])
        .arg("-qmp")
        .arg(format!("unix:{}", listening(control).trim_start_matches("path=")))
        .stdin(Stdio::null())
        .stdout(File::create(console)?)
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    for (serial, may_write) in DISKS {
        let file: PathBuf = folder.join(serial);
        File::create(&file)?.set_len(DISK_BYTES)?;
        let read_only = if may_write { "off" } else { "on" };
        qemu.arg("-blockdev").arg(format!(
            "driver=raw,node-name={serial},read-only={read_only},file.driver=file,file.filename={}",
            file.display()
        ));
        qemu.arg("-device").arg(format!("virtio-blk-device,drive={serial},serial={serial}"));
    }
    Ok(qemu)
}

/// Sends a command without arguments, and reads to its answer (QEMU Machine Protocol Specification, "Issuing Commands").
async fn asked(qmp: &mut BufReader<UnixStream>, command: &str) -> Result<()> {
    qmp.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).await?;
    let mut line = String::new();
    while !line.contains("\"return\"") {
        line.clear();
        ensure!(qmp.read_line(&mut line).await? > 0, "the bare QEMU command ended at {command}");
        ensure!(!line.contains("\"error\""), "the bare QEMU command refuses {command}: {line}");
    }
    Ok(())
}

/// A moment, if it still runs.
async fn wait(child: &mut Child, began: Instant) -> Result<()> {
    ensure!(child.try_wait()?.is_none(), "the bare QEMU command ended before its guest was up");
    ensure!(began.elapsed() < HANG, "the bare guest does not come up");
    tokio::time::sleep(LOOK).await;
    Ok(())
}
