//! Commands side by side, as many as a class has seats.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::process::Child;

use super::firecracker::Vm;
use super::qemu::Qemu;
use super::{Place, Saved, network};
use crate::bench::microvm::class::{GONE, IDLE};
use crate::bench::microvm::host::Host;
use crate::bench::microvm::memory::Memory;
use crate::bench::microvm::monitor::Monitor;
use crate::bench::microvm::seat::ms;

/// What they showed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::bench::microvm) struct Class {
    /// Milliseconds from the first start until the last agent waits for its host, or has answered it where the guest went on from what was saved.
    pub(in crate::bench::microvm) agent: f64,
    /// Of one monitor, in MiB: what goes with it while others like it stay.
    pub(in crate::bench::microvm) further: Memory,
}

/// A command whose guest is up. It ends with this, and then its place goes.
struct Running(Child, #[expect(dead_code, reason = "it is kept for as long as the command runs")] Place);

/// Starts so many at once, which boot or go on from what was saved, and looks at them as a class of seats is looked at.
pub(in crate::bench::microvm) async fn class(
    host: &Host,
    monitor: &Monitor,
    saved: Option<&Saved>,
    guests: u16,
) -> Result<Class> {
    network::up_to(guests).await?;
    let places = (0..guests).map(|number| Place::make(host, number)).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let starts = places.into_iter().map(|place| up(host, monitor, saved, place));
    let mut running = try_join_all(starts).await?;
    let agent = ms(began.elapsed());
    tokio::time::sleep(IDLE).await;
    let all = of(&running)?;
    for Running(child, _) in &mut running[usize::from(guests / 2)..] {
        child.kill().await?;
    }
    running.truncate(usize::from(guests / 2));
    tokio::time::sleep(GONE).await;
    let further = all.each_of(of(&running)?, guests - guests / 2);
    for Running(child, _) in &mut running {
        child.kill().await?;
    }
    Ok(Class { agent, further })
}

/// Starts one and waits until its agent is there.
async fn up(host: &Host, monitor: &Monitor, saved: Option<&Saved>, place: Place) -> Result<Running> {
    let child = match (monitor, saved) {
        (Monitor::Qemu, None) => {
            let (mut qemu, _) = Qemu::booting(host, &place).await?;
            qemu.boot().await?;
            qemu.child
        }
        (Monitor::Qemu, Some(Saved::Qemu(saved))) => {
            let qemu = saved.going_on(host, &place).await?;
            qemu.reach().await?;
            qemu.child
        }
        (Monitor::Firecracker(programs), None) => {
            let mut vm = Vm::configured(host, &programs.firecracker, &place.folder, &place.tap)?;
            vm.boot().await?;
            vm.child
        }
        (Monitor::Firecracker(_), Some(Saved::Firecracker(saved))) => {
            let mut vm = saved.going_on(&place).await?;
            vm.reach().await?;
            vm.child
        }
        (Monitor::Qemu | Monitor::Firecracker(_), Some(_)) => bail!("another monitor saved that guest"),
    };
    Ok(Running(child, place))
}

/// What they have together.
fn of(running: &[Running]) -> Result<Memory> {
    let mut sum = Memory { guest: 0.0, beyond: 0.0 };
    for Running(child, _) in running {
        let pid = child.id().context("a bare command has ended")?;
        let Memory { guest, beyond } = Memory::of(&[pid.into()])?;
        sum = Memory { guest: sum.guest + guest, beyond: sum.beyond + beyond };
    }
    Ok(sum)
}
