//! The run itself, in its namespace.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use vm_testbed::BootError;

use super::firecracker::Firecracker;
use super::guests::{self, Guests};
use super::host::Host;
use super::monitor::{Monitor, Programs};
use super::nested::{self, Place};
use super::seat::ms;
use super::{Options, firecracker, network, print};
use crate::bench::service::Client;
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Far longer than a service takes to know its seats again.
const HANG: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_millis(5);

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// Milliseconds of each seat's network by itself.
    pub(super) network: Vec<f64>,
    pub(super) qemu: Option<Guests>,
    pub(super) adopted: Option<Adopted>,
    /// The host's side alone; nothing where there is none.
    pub(super) firecracker: Option<Firecracker>,
    /// Its seats, and where they ran.
    pub(super) firecracker_guests: Option<(Place, Guests)>,
}

/// A service that was killed with a class up, and the next one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Adopted {
    pub(super) seats: u16,
    /// Milliseconds from the start of the next service until it listens, and knows all of them as seats whose VMs live.
    pub(super) known: f64,
    /// The same until all of them have answered it: their guests' part.
    pub(super) answered: f64,
}

/// Measures, prints, and leaves nothing behind.
pub(super) async fn run(repo: &Repo, stop: &Stop, options: &Options, binary: &Path) -> Result<()> {
    let host = Host::new(binary).await.context("the host could not be prepared")?;
    let measured = stop.or(measure(&host, options, binary)).await;
    let swept = host.sweep();
    let report = measured?;
    swept?;
    print::print(&report);
    let results = repo.scratch("bench");
    let file = results.join(format!("microvm-{}.json", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    std::fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    console::dim(&format!("every turn: {}", file.display()));
    Ok(())
}

async fn measure(host: &Host, options: &Options, binary: &Path) -> Result<Report> {
    let mut report = Report { network: network::ports().await?, ..Report::default() };
    let image = super::image();
    if options.monitor != Some(super::Which::Firecracker) {
        host.prepare(&Monitor::Qemu).await?;
        report.qemu = Some(guests::measure(host, &Monitor::Qemu, options.amount, &image).await?);
        report.adopted = Some(adopted(host, options, &image).await?);
    }
    if options.monitor != Some(super::Which::Qemu) {
        firecracker(host, options, binary, &image, &mut report).await?;
    }
    Ok(report)
}

/// As much of Firecracker as can be had.
async fn firecracker(
    host: &Host,
    options: &Options,
    binary: &Path,
    image: &str,
    report: &mut Report,
) -> Result<()> {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(BootError::Missing(why)) => {
            console::dim(&format!("Firecracker is not measured: {why}"));
            return Ok(());
        }
        Err(why) => return Err(why.into()),
    };
    let monitor = Monitor::Firecracker(programs.clone());
    host.prepare(&monitor).await?;
    report.firecracker = Some(firecracker::measure(host, &programs, options.amount.rounds, image).await?);
    report.firecracker_guests = match host.why_no_kvm().await? {
        None => {
            let measured = guests::measure(host, &monitor, options.amount, image).await?;
            Some((Place::Direct, measured))
        }
        Some(why) => {
            console::dim(&format!("guests of Firecracker are measured in a guest that is a host: {why}"));
            nested::measure(options.nested_amount(), binary).await?
        }
    };
    Ok(())
}

/// A class that outlives its service.
async fn adopted(host: &Host, options: &Options, image: &str) -> Result<Adopted> {
    let mut service = host.serve(&Monitor::Qemu, "off").await?;
    let client = Client::new(service.url(), service.id())?;
    client.create("adopted", options.seats, image).await?;
    let pid = rustix::process::Pid::from_raw(service.id()).context("the service has no number")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    service.ended().await?;
    let began = Instant::now();
    let next = host.serve(&Monitor::Qemu, "off").await?;
    let client = Client::new(next.url(), next.id())?;
    // It listens once it has found its seats again; whether they answer is up to their guests.
    let known = ms(began.elapsed());
    let states = client.states("adopted").await?;
    let live = states.iter().filter(|state| matches!(state.as_str(), "starting" | "running")).count();
    ensure!(live == usize::from(options.seats), "the next service does not know the seats again: {states:?}");
    while client.list("adopted").await? < usize::from(options.seats) {
        ensure!(began.elapsed() < HANG, "not all seats answer the next service");
        tokio::time::sleep(BETWEEN).await;
    }
    let answered = ms(began.elapsed());
    client.destroy("adopted").await?;
    next.stop().await?;
    Ok(Adopted { seats: options.seats, known, answered })
}
