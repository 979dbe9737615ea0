//! The floor: the same guest, started by hand.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::host::Host;
use super::seat::{LOOK, agent_is_up};
use crate::bench::objects::{CPUS, MEMORY_MIB};

/// What the service gives the kernel of a guest that is translated.
const COMMAND_LINE: &str = "console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000 quiet";
/// Far longer than any boot takes.
const HANG: Duration = Duration::from_secs(240);

/// How long it takes from the start of QEMU until the agent waits for its host.
pub(super) async fn boot(host: &Host) -> Result<Duration> {
    let folder = host.folder().join("bare");
    std::fs::create_dir(&folder)?;
    let booted = booted(host, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    booted
}

async fn booted(host: &Host, folder: &Path) -> Result<Duration> {
    let (kernel, initramfs) = host.boot()?;
    let (console, socket) = (folder.join("console.log"), folder.join("agent.sock"));
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "microvm,pit=on,pic=on,rtc=on,acpi=on", "-accel", "tcg,tb-size=128", "-cpu", "max"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-smp", &CPUS.to_string(), "-m", &format!("{MEMORY_MIB}M")])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE, "-chardev", "stdio,id=console,signal=off"])
        .args(["-serial", "chardev:console", "-device", "virtio-serial-device"])
        .arg("-chardev")
        .arg(format!("socket,id=agent,path={},server=on,wait=off", socket.display()))
        .args(["-device", "virtserialport,chardev=agent,name=clarateach.agent"])
        .stdin(Stdio::null())
        .stdout(File::create(&console)?)
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let began = Instant::now();
    let mut child = qemu.spawn()?;
    let took = loop {
        if agent_is_up(&console) {
            break began.elapsed();
        }
        ensure!(child.try_wait()?.is_none(), "the bare QEMU command ended before its guest was up");
        ensure!(began.elapsed() < HANG, "the bare guest does not come up");
        tokio::time::sleep(LOOK).await;
    };
    child.kill().await?;
    Ok(took)
}
