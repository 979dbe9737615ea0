//! The host's side of a create under Firecracker, where there is one: from the request to a monitor whose processors run.
//!
//! That is all that can be measured on every host with a `/dev/kvm`: where that is emulated, guests do not come up, their creates fail after a second, and
//! are taken back.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::host::Host;
use super::monitor::{Monitor, Programs};
use super::seat::{LOOK, SEAT, ms, started_process};
use crate::bench::objects::MEMORY_MIB;
use crate::bench::service::Client;

/// The workshop of the turns. Its first seat stays, as that of [`super::seat::WORKSHOP`] does, and runs in QEMU, in which guests come up everywhere.
const WORKSHOP: &str = "firecracker";
/// Far longer than a monitor takes to start.
const HANG: Duration = Duration::from_secs(60);

/// What was measured, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Firecracker {
    pub(super) jailed: Vec<Start>,
    pub(super) plain: Vec<Start>,
    /// By a bare command with a file of settings, not jailed, until it answers that the guest runs.
    pub(super) alone: Vec<f64>,
}

/// From the request, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Start {
    /// Until there is a process of Firecracker's: the jailer has become it, where there is one.
    pub(super) process: f64,
    /// Until it runs a guest, and its record is there.
    pub(super) runs: f64,
}

/// Measures so many rounds of each.
pub(super) async fn measure(
    host: &Host,
    Programs { firecracker, jailer }: &Programs,
    rounds: u32,
    image: &str,
) -> Result<Firecracker> {
    let service = host.serve(&Monitor::Qemu, "off").await?;
    Client::new(service.url(), service.id())?.create(WORKSHOP, SEAT - 1, image).await?;
    service.stop().await?;
    let jailed = turns(host, firecracker, Some(jailer), rounds, image).await?;
    let mut measured = Firecracker { jailed, ..Firecracker::default() };
    measured.plain = turns(host, firecracker, None, rounds, image).await?;
    for round in 0..=rounds {
        let took = alone(host, firecracker).await?;
        measured.alone.extend((round > 0).then_some(took));
    }
    let service = host.serve(&Monitor::Qemu, "off").await?;
    Client::new(service.url(), service.id())?.destroy(WORKSHOP).await?;
    service.stop().await?;
    Ok(measured)
}

async fn turns(
    host: &Host,
    firecracker: &Path,
    jailer: Option<&Path>,
    rounds: u32,
    image: &str,
) -> Result<Vec<Start>> {
    let service = host.serve_firecracker(firecracker, jailer).await?;
    let client = Client::new(service.url(), service.id())?;
    let mut took = Vec::new();
    let measured = async {
        for round in 0..=rounds {
            let one = turn(host, &client, firecracker, image).await?;
            // The first brings everything into the page cache.
            took.extend((round > 0).then_some(one));
        }
        Ok(())
    };
    let measured: Result<()> = measured.await;
    service.stop().await?;
    measured.map(|()| took)
}

/// Makes a seat until its monitor's record is there, and takes it away.
async fn turn(host: &Host, client: &Client, firecracker: &Path, image: &str) -> Result<Start> {
    let run = host.seat(WORKSHOP, SEAT).join("run");
    let (lock, record) = (run.join("keeper.lock"), run.join("vmm.json"));
    let began = Instant::now();
    let watching = async {
        while !started_process(&lock).is_some_and(|pid| is_or_has(pid, firecracker)) {
            tokio::time::sleep(LOOK).await;
        }
        let process = ms(began.elapsed());
        while !record.exists() {
            tokio::time::sleep(LOOK).await;
        }
        Start { process, runs: ms(began.elapsed()) }
    };
    let creating = client.try_create(WORKSHOP, SEAT, image);
    tokio::pin!(watching, creating);
    let mut seen = None;
    let answer = loop {
        tokio::select! {
            took = &mut watching, if seen.is_none() => seen = Some(took),
            answer = &mut creating => break answer?,
        }
    };
    let took = seen.with_context(|| format!("no monitor was seen: {answer:?}"))?;
    client.destroy_seat(WORKSHOP, SEAT).await?;
    Ok(took)
}

/// Whether a process, or a child of it, runs this program. A jailed one runs a copy, of the same name.
fn is_or_has(pid: i64, program: &Path) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    [pid].into_iter().chain(children).any(|pid| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        exe.file_name().is_some_and(|name| Some(name) == program.file_name())
    })
}

/// The same guest by hand.
async fn alone(host: &Host, firecracker: &Path) -> Result<f64> {
    let folder = host.folder().join("alone");
    fs::create_dir(&folder)?;
    let started = started(host, firecracker, &folder).await;
    fs::remove_dir_all(&folder)?;
    started
}

async fn started(host: &Host, firecracker: &Path, folder: &Path) -> Result<f64> {
    let (kernel, initramfs) = host.boot()?;
    let disk = folder.join("disk");
    fs::File::create(&disk)?.set_len(64 << 20)?;
    let settings = json!({
        "boot-source": { "kernel_image_path": kernel, "initrd_path": initramfs, "boot_args": "console=ttyS0" },
        "machine-config": { "vcpu_count": 1, "mem_size_mib": MEMORY_MIB },
        "drives": [{ "drive_id": "disk", "path_on_host": disk, "is_root_device": false, "is_read_only": false }],
    });
    let (file, socket) = (folder.join("settings.json"), folder.join("api.sock"));
    fs::write(&file, settings.to_string())?;
    let began = Instant::now();
    let mut command = Command::new(firecracker);
    command.arg("--api-sock").arg(&socket).arg("--config-file").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().context("Firecracker cannot be run")?;
    while !runs(&socket).await {
        ensure!(child.try_wait()?.is_none(), "Firecracker ended before its guest ran");
        ensure!(began.elapsed() < HANG, "Firecracker does not say that its guest runs");
        tokio::time::sleep(LOOK).await;
    }
    let took = ms(began.elapsed());
    child.kill().await?;
    Ok(took)
}

/// Whether the one at a socket says that its guest runs.
async fn runs(socket: &Path) -> bool {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer[..read]).contains("\"Running\""))
    };
    asked.await.unwrap_or(false)
}
