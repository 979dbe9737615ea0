//! Firecracker by hand, not jailed.

mod api;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use guest_protocol::{BootWords, VSOCK_PORT, link};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::network::MAC;
use super::{AGAIN, AGENT, Boot, CONSOLE, Disk, HANG, Place, Restored, disks, network, wait, workspace};
use crate::bench::microvm::host::Host;
use crate::bench::microvm::seat::{agent_is_up, ms};
use crate::bench::objects::{CPUS, MEMORY_MIB};

/// What the service gives the kernel, but for what tells the agent of its machine.
const COMMAND_LINE: &str =
    "console=ttyS0 reboot=k panic=-1 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce";
const CONTROL: &str = "api.sock";

/// Boots the guest once.
pub(super) async fn boot(host: &Host, program: &Path) -> Result<Boot> {
    let place = Place::make(host, 0)?;
    let mut vm = Vm::configured(host, program, &place.folder, &place.tap)?;
    let answer = vm.runs().await?;
    vm.boot().await?;
    let agent = vm.began.elapsed();
    workspace::ready(host, || vm.agent()).await?;
    let all = vm.began.elapsed();
    vm.child.kill().await?;
    Ok(Boot { alone: ms(answer), agent: ms(agent - answer), workspace: ms(all - agent) })
}

/// A guest that waits for its host, in files. Its disks stay where they were, as the files say.
pub(in crate::bench::microvm) struct Saved {
    program: PathBuf,
    memory: PathBuf,
    state: PathBuf,
}

impl Saved {
    /// Boots the guest and saves it.
    pub(super) async fn make(host: &Host, program: &Path) -> Result<Self> {
        let folder = host.folder().join("saved-firecracker");
        fs::create_dir(&folder)?;
        let saved =
            Self { program: program.to_owned(), memory: folder.join("memory"), state: folder.join("state") };
        let mut vm = Vm::configured(host, program, &folder, &network::tap(0))?;
        vm.runs().await?;
        vm.boot().await?;
        vm.asked("PATCH", "/vm", json!({ "state": "Paused" })).await?;
        let files =
            json!({ "snapshot_type": "Full", "snapshot_path": saved.state, "mem_file_path": saved.memory });
        vm.asked("PUT", "/snapshot/create", files).await?;
        vm.child.kill().await?;
        Ok(saved)
    }

    /// Goes on from it once.
    pub(super) async fn restore(&self, host: &Host) -> Result<Restored> {
        let place = Place::make(host, 0)?;
        let mut vm = self.going_on(&place).await?;
        let run = vm.began.elapsed();
        vm.reach().await?;
        let agent = vm.began.elapsed() - run;
        vm.child.kill().await?;
        Ok(Restored { run, agent })
    }

    /// Starts a command that goes on from it, and waits until its processors run.
    pub(super) async fn going_on(&self, Place { folder, tap }: &Place) -> Result<Vm> {
        let mut vm = Vm::start(&self.program, folder, None)?;
        while UnixStream::connect(folder.join(CONTROL)).await.is_err() {
            wait(&mut vm.child, vm.began).await?;
        }
        let load = json!({
            "snapshot_path": self.state,
            "mem_backend": { "backend_type": "File", "backend_path": self.memory },
            "network_overrides": [{ "iface_id": "eth0", "host_dev_name": tap }],
            "vsock_override": { "uds_path": folder.join(AGENT) },
            "resume_vm": true,
        });
        vm.asked("PUT", "/snapshot/load", load).await?;
        Ok(vm)
    }
}

/// A command that runs.
pub(super) struct Vm {
    pub(super) child: Child,
    folder: PathBuf,
    began: Instant,
}

impl Vm {
    /// Starts one that boots.
    pub(super) fn configured(host: &Host, program: &Path, folder: &Path, tap: &str) -> Result<Self> {
        let file = folder.join("settings.json");
        fs::write(&file, settings(host, folder, tap)?.to_string())?;
        Self::start(program, folder, Some(&file))
    }

    fn start(program: &Path, folder: &Path, settings: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--api-sock").arg(folder.join(CONTROL));
        if let Some(file) = settings {
            command.arg("--config-file").arg(file);
        }
        command.stdin(Stdio::null()).stdout(File::create(folder.join(CONSOLE))?);
        command.stderr(Stdio::null()).kill_on_drop(true);
        let began = Instant::now();
        let child = command.spawn().context("Firecracker cannot be run")?;
        Ok(Self { child, folder: folder.to_owned(), began })
    }

    /// Waits until it says that its guest runs; how long that took from its start.
    async fn runs(&mut self) -> Result<Duration> {
        while !api::runs(&self.folder.join(CONTROL)).await {
            wait(&mut self.child, self.began).await?;
        }
        Ok(self.began.elapsed())
    }

    /// Waits until the guest's agent waits for its host.
    pub(super) async fn boot(&mut self) -> Result<()> {
        while !agent_is_up(&self.folder.join(CONSOLE)) {
            wait(&mut self.child, self.began).await?;
        }
        Ok(())
    }

    async fn asked(&self, method: &str, path: &str, body: Value) -> Result<()> {
        api::ask(&self.folder.join(CONTROL), method, path, &body).await.map(drop)
    }

    /// Waits until the guest's agent answers its host.
    pub(super) async fn reach(&mut self) -> Result<()> {
        let answered = async {
            // A guest that has just gone on resets its first connections (docs/vsock.md of Firecracker).
            while !self.answers().await {
                wait(&mut self.child, self.began).await?;
            }
            Ok(())
        };
        let answered = tokio::time::timeout(HANG, answered).await;
        answered.context("the guest that was saved does not answer")?
    }

    /// A stream to the guest's agent.
    async fn agent(&self) -> io::Result<UnixStream> {
        api::connect(&self.folder.join(AGENT), VSOCK_PORT).await.map_err(io::Error::other)
    }

    async fn answers(&self) -> bool {
        let opened = async {
            let mut stream = self.agent().await?;
            link::open(&mut stream, AGAIN).await?;
            Ok::<_, io::Error>(())
        };
        opened.await.is_ok()
    }
}

/// The machine and devices of a seat.
fn settings(host: &Host, folder: &Path, tap: &str) -> Result<Value> {
    let (kernel, initramfs) = host.boot()?;
    let disks = disks::make(host, folder)?;
    let drive = |Disk { name, file, may_write }: &Disk| {
        json!({
            "drive_id": name, "path_on_host": file, "is_root_device": false, "is_read_only": !may_write,
            "cache_type": "Writeback",
        })
    };
    let drives: Vec<_> = disks.iter().map(drive).collect();
    let names = disks.iter().map(|disk| disk.name.to_owned()).collect();
    let words = BootWords { disks: Some(names), vsock_port: Some(VSOCK_PORT) };
    Ok(json!({
        "boot-source": {
            "kernel_image_path": kernel, "initrd_path": initramfs, "boot_args": format!("{COMMAND_LINE} {words} quiet"),
        },
        "machine-config": { "vcpu_count": CPUS, "mem_size_mib": MEMORY_MIB },
        "drives": drives,
        "network-interfaces": [
            { "iface_id": "eth0", "host_dev_name": tap, "guest_mac": MAC },
        ],
        "vsock": { "guest_cid": 3, "uds_path": folder.join(AGENT) },
        "entropy": {},
        "balloon": {
            "amount_mib": 0, "deflate_on_oom": true, "stats_polling_interval_s": 30, "free_page_reporting": true,
        },
    }))
}
