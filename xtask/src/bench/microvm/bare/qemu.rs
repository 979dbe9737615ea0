//! QEMU by hand.

mod saved;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

pub(super) use self::saved::Saved;
use super::network::MAC;
use super::{AGENT, Boot, CONSOLE, Disk, Place, disks, wait, workspace};
use crate::bench::microvm::host::Host;
use crate::bench::microvm::seat::{agent_is_up, ms};
use crate::bench::objects::{CPUS, MEMORY_MIB};

/// What the service gives the kernel of a guest that is translated.
const COMMAND_LINE: &str =
    "console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000 tsc=reliable quiet";
const CONTROL: &str = "qmp.sock";

/// Boots the guest once.
pub(super) async fn boot(host: &Host) -> Result<Boot> {
    let place = Place::make(host, 0)?;
    let (mut qemu, answer) = Qemu::booting(host, &place).await?;
    qemu.boot().await?;
    let agent = qemu.began.elapsed();
    workspace::ready(host, || UnixStream::connect(place.folder.join(AGENT))).await?;
    let all = qemu.began.elapsed();
    qemu.child.kill().await?;
    Ok(Boot { alone: ms(answer), agent: ms(agent - answer), workspace: ms(all - agent) })
}

/// A command that runs, its processors stopped at first.
pub(super) struct Qemu {
    pub(super) child: Child,
    qmp: BufReader<UnixStream>,
    folder: PathBuf,
    began: Instant,
}

impl Qemu {
    /// Starts one that boots; also how long it took until its control socket had answered.
    pub(super) async fn booting(host: &Host, place: &Place) -> Result<(Self, Duration)> {
        let mut this = Self::start(command(host, place, &[])?, &place.folder).await?;
        let answer = this.began.elapsed();
        this.asked("cont", json!({})).await?;
        Ok((this, answer))
    }

    /// Starts it and waits until its control socket has answered.
    async fn start(mut command: Command, folder: &Path) -> Result<Self> {
        let began = Instant::now();
        let mut child = command.spawn().context("qemu-system-x86_64 cannot be run")?;
        let qmp = loop {
            // It is made and listened at in two steps.
            match UnixStream::connect(folder.join(CONTROL)).await {
                Ok(stream) => break BufReader::new(stream),
                Err(_) => wait(&mut child, began).await?,
            }
        };
        let mut this = Self { child, qmp, folder: folder.to_owned(), began };
        this.asked("qmp_capabilities", json!({})).await?;
        Ok(this)
    }

    /// Waits until the guest's agent waits for its host.
    pub(super) async fn boot(&mut self) -> Result<()> {
        while !agent_is_up(&self.folder.join(CONSOLE)) {
            wait(&mut self.child, self.began).await?;
        }
        Ok(())
    }

    /// Sends a command, and reads to its answer (QEMU Machine Protocol Specification, "Issuing Commands").
    async fn asked(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        self.qmp.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
        loop {
            let mut line = String::new();
            ensure!(self.qmp.read_line(&mut line).await? > 0, "the bare QEMU command ended at {command}");
            let mut said: Value = serde_json::from_str(&line)?;
            ensure!(said["error"].is_null(), "the bare QEMU command refuses {command}: {line}");
            if said.get("return").is_some() {
                return Ok(said["return"].take());
            }
        }
    }
}

/// The command, with more options; its processors are stopped at first.
fn command(host: &Host, Place { folder, tap }: &Place, more: &[String]) -> Result<Command> {
    let (kernel, initramfs) = host.boot()?;
    let listening = |path: &Path| format!("path={},server=on,wait=off", path.display());
    // A machine that is saved finds its state again by the names of its parts, so its memory has one.
    let machine = "microvm,pit=on,pic=on,rtc=on,acpi=on,memory-backend=memory";
    let own = [format!("memory-backend-ram,id=memory,size={MEMORY_MIB}M")];
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", machine, "-accel", "tcg,tb-size=128", "-cpu", "max"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"])
        .args(["-smp", &CPUS.to_string(), "-m", &format!("{MEMORY_MIB}M"), "-object"])
        .args(if more.is_empty() { &own } else { more })
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE, "-chardev", "stdio,id=console,signal=off"])
        .args(["-serial", "chardev:console", "-netdev"])
        .arg(format!("tap,id=net,ifname={tap},script=no,downscript=no,vhost=off"))
        .args(["-device", &format!("virtio-net-device,netdev=net,mac={MAC}")])
        .args(["-device", "virtio-serial-device"])
        .arg("-chardev")
        .arg(format!("socket,id=agent,{}", listening(&folder.join(AGENT))))
        .args(["-device", "virtserialport,chardev=agent,name=clarateach.agent"])
        .args(["-object", "rng-builtin,id=entropy", "-device", "virtio-rng-device,rng=entropy"])
        .arg("-qmp")
        .arg(format!("unix:{}", listening(&folder.join(CONTROL)).trim_start_matches("path=")))
        .stdin(Stdio::null())
        .stdout(File::create(folder.join(CONSOLE))?)
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    for Disk { name, file, may_write } in disks::make(host, folder)? {
        let read_only = if may_write { "off" } else { "on" };
        qemu.arg("-blockdev").arg(format!(
            "driver=raw,node-name={name},read-only={read_only},discard=unmap,\
             file.driver=file,file.filename={},file.discard=unmap",
            file.display()
        ));
        qemu.arg("-device").arg(format!("virtio-blk-device,drive={name},serial={name}"));
    }
    Ok(qemu)
}
