//! The floor: the same guest on the same machine, started by hand.

mod class;
mod disks;
mod firecracker;
mod network;
mod qemu;
mod workspace;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Child;

pub(super) use self::class::{Class, class};
use self::disks::Disk;
pub(super) use self::network::make as network;
use super::host::Host;
use super::monitor::Monitor;
use super::seat::LOOK;

const CONSOLE: &str = "console.log";
const AGENT: &str = "agent.sock";
/// Far longer than any boot takes.
const HANG: Duration = Duration::from_secs(240);
/// How long an agent may take to answer before it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a command took that boots the guest, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boot {
    /// From the start of the monitor: of QEMU until its control socket has answered, the processors still stopped; of Firecracker until it says that its guest runs.
    pub(super) alone: f64,
    /// From there, with the processors running, until the agent waits for its host.
    pub(super) agent: f64,
    /// From there until the workspace of a guest that is configured by hand takes connections on both ports.
    pub(super) workspace: f64,
}

/// What a command took that goes on from a saved guest.
pub(super) struct Restored {
    /// From the start of the monitor until its processors run.
    pub(super) run: Duration,
    /// From there until the agent answers its host.
    pub(super) agent: Duration,
}

/// What a command has of the host: a folder, and a TAP device. The folder goes with this.
struct Place {
    folder: PathBuf,
    tap: String,
}

impl Place {
    /// That of the command of this number, of those that there are at a time.
    fn make(host: &Host, number: u16) -> Result<Self> {
        let folder = host.folder().join(format!("bare{number}"));
        fs::create_dir(&folder)?;
        Ok(Self { folder, tap: network::tap(number) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A guest that waits for its host, in files.
pub(super) enum Saved {
    Qemu(qemu::Saved),
    Firecracker(firecracker::Saved),
}

/// Boots the guest once.
pub(super) async fn boot(host: &Host, monitor: &Monitor) -> Result<Boot> {
    match monitor {
        Monitor::Qemu => qemu::boot(host).await,
        Monitor::Firecracker(programs) => firecracker::boot(host, &programs.firecracker).await,
    }
}

impl Saved {
    /// Boots the guest and saves it.
    pub(super) async fn make(host: &Host, monitor: &Monitor) -> Result<Self> {
        match monitor {
            Monitor::Qemu => qemu::Saved::make(host).await.map(Self::Qemu),
            Monitor::Firecracker(programs) => {
                firecracker::Saved::make(host, &programs.firecracker).await.map(Self::Firecracker)
            }
        }
    }

    /// Goes on from it once.
    pub(super) async fn restore(&self, host: &Host) -> Result<Restored> {
        match self {
            Self::Qemu(saved) => saved.restore(host).await,
            Self::Firecracker(saved) => saved.restore(host).await,
        }
    }
}

/// A moment, if the command still runs.
async fn wait(child: &mut Child, began: Instant) -> Result<()> {
    ensure!(child.try_wait()?.is_none(), "the bare command ended before its guest was up");
    ensure!(began.elapsed() < HANG, "the bare guest does not come up");
    tokio::time::sleep(LOOK).await;
    Ok(())
}
