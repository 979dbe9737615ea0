//! `cargo xtask bench microvm`: what a microVM seat costs beside its guest.
//!
//! Two ways to boot the same kernel and first root take turns, each on a machine that is otherwise idle:
//!
//! ```text
//!   bare      one QEMU command with the seat's machine and devices         what there can be at best
//!   service   PUT /workshops/{id} of a release build, one seat             what there is
//!
//!   request ──► monitor's process ──► it runs ──► the agent waits for its host ──► the workspace takes connections on both ports
//!                  └────────────────────────── bare: the same way ───────────────────────────────┘
//! ```
//!
//! Then seats go on from a snapshot, and the same guest does that was saved by hand, and classes come up both ways. A class is up while the service is
//! killed and started again. At last, where `FIRECRACKER_BIN` and `JAILER_BIN` name programs, seats are asked for until their Firecracker runs, and then the same is measured of
//! Firecracker's guests as of QEMU's: on this host where its KVM runs guests, and else in a guest that is itself a host ([`nested`]). All of it is
//! in a network namespace of its own, without a Docker engine, by a build of this program that is started again in there. A budget that is missed is a result.

mod bare;
mod class;
mod firecracker;
mod guests;
mod host;
mod inside;
mod memory;
mod monitor;
mod nested;
mod network;
mod print;
mod restored;
mod seat;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use self::guests::Amount;
pub(crate) use self::nested::{Options as NestedOptions, inside as in_outer_guest};
use super::build;
use crate::agent;
use crate::child::{Family, show};
use crate::repo::Repo;
use crate::stop::Stop;

/// How long an interrupted bench may take to end its guests.
const SWEEP: Duration = Duration::from_secs(60);

/// Whose seats are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Qemu,
    Firecracker,
}

/// How much is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The seats of one monitor alone.
    #[arg(long)]
    monitor: Option<Which>,
    #[command(flatten)]
    amount: Amount,
    /// The rounds of Firecracker where its guests run in a guest, and each takes many times as long.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    nested_rounds: u32,
    /// The class that a killed service finds again.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    seats: u16,
    /// The service's binary; without it, a release build is made.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The network namespace from which this program started itself in another one.
    #[arg(long, hide = true)]
    outside: Option<PathBuf>,
}

impl Options {
    /// How much is measured in a guest.
    fn nested_amount(&self) -> Amount {
        Amount { rounds: self.nested_rounds, ..self.amount }
    }
}

/// The image of the seats.
fn image() -> String {
    format!("{}:latest", vm_testbed::IMAGE)
}

/// Measures, prints the result and writes it to `target/bench/`.
pub(super) async fn run(repo: &Repo, stop: &Stop, options: &Options) -> Result<bool> {
    let here = std::fs::read_link("/proc/self/ns/net")?;
    if let Some(outside) = &options.outside {
        ensure!(here != *outside, "this is no network namespace of the bench's own");
        let binary = options.binary.as_deref().context("no binary")?;
        return inside::run(repo, stop, options, binary).await.map(|()| true);
    }
    let work = repo.scratch("bench").join("work");
    std::fs::create_dir_all(&work)?;
    ensure!(agent::build(repo, stop).await?.is_some(), "the guest agent does not compile (see above)");
    let kernel = show(&mut repo.command("scripts/ensure-guest-kernel.sh"), stop).await?;
    ensure!(kernel.success(), "there is no guest kernel (see above)");
    if options.monitor != Some(Which::Qemu) && vm_testbed::firecracker().is_ok() {
        // Where its guests run nested; without it that is done in the QEMU that is installed.
        show(&mut repo.command("scripts/ensure-outer-qemu.sh"), stop).await?;
    }
    let binary = build::release(repo, stop, options.binary.as_deref(), &work).await?;
    let mut again = repo.command("unshare");
    again.args(["--net", "--mount", "--"]).arg(std::env::current_exe()?);
    again.args(["bench", "microvm", "--outside"]).arg(here).arg("--binary").arg(binary);
    again.args(options.amount.arguments());
    again.arg(format!("--nested-rounds={}", options.nested_rounds));
    again.arg(format!("--seats={}", options.seats));
    let monitor = options.monitor.and_then(|which| which.to_possible_value());
    again.args(monitor.map(|which| format!("--monitor={}", which.get_name())));
    let mut family = Family::spawn(&mut again).context("unshare (util-linux) cannot be run")?;
    let ended = stop.or(family.ended()).await;
    if ended.is_err() {
        family.end(SWEEP).await?;
    }
    Ok(ended?.success())
}
