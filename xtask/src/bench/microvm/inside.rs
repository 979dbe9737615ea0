//! The run itself, in its namespace.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::bare::Saved;
use super::class::{Class, class};
use super::firecracker::{self, Firecracker};
use super::host::Host;
use super::restored::{Restored, stage};
use super::seat::{Turn, WORKSHOP, ms, turn};
use super::{Options, bare, print, restored};
use crate::bench::service::Client;
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Far longer than a service takes to know its seats again.
const HANG: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_millis(5);
/// How many classes come up each way, at most.
const CLASSES: u32 = 3;

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// Of the bare command: milliseconds until QEMU answers, and from there until the agent waits for its host.
    pub(super) bare: Vec<(f64, f64)>,
    pub(super) turns: Vec<Turn>,
    /// Classes that boot.
    pub(super) booted: Vec<Class>,
    /// Milliseconds that the first seat waits for the snapshot that is made for its kind.
    pub(super) made: Option<f64>,
    /// Of the bare command that goes on from what was saved: milliseconds until its processors run, and from there until the agent answers.
    pub(super) bare_restores: Vec<(f64, f64)>,
    pub(super) restores: Vec<Restored>,
    /// Classes that go on from a snapshot.
    pub(super) restored: Vec<Class>,
    pub(super) adopted: Option<Adopted>,
    /// Nothing where there is none.
    pub(super) firecracker: Option<Firecracker>,
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
    let folder = std::env::temp_dir().join(format!("mb{}", std::process::id()));
    let host = Host::new(repo, folder, binary).await;
    let host = host.context("the host could not be prepared")?;
    let measured = stop.or(measure(&host, options)).await;
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

async fn measure(host: &Host, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let image = format!("{}:latest", vm_testbed::IMAGE);
    let service = host.serve("off").await?;
    let client = Client::new(service.url(), service.id())?;
    client.create(WORKSHOP, 1, &image).await?;
    for round in 0..=options.rounds {
        let (mut by_hand, mut seat) = (None, None);
        for way in 0..2 {
            // Another order each round.
            if (way + round) % 2 == 0 {
                let bare = bare::boot(host).await?;
                by_hand = Some((ms(bare.answer), ms(bare.boot)));
            } else {
                seat = Some(turn(host, &client, &image).await?);
            }
        }
        // The first round brings everything into the page cache.
        if round > 0 {
            report.bare.extend(by_hand);
            report.turns.extend(seat);
        }
    }
    client.destroy(WORKSHOP).await?;
    for _ in 0..options.rounds.min(CLASSES) {
        report.booted.push(class(host, &client, &image).await?);
    }
    service.stop().await?;
    restores(host, options, &image, &mut report).await?;
    report.adopted = Some(adopted(host, options, &image).await?);
    report.firecracker = firecracker::measure(host, options.rounds, &image).await?;
    Ok(report)
}

/// The same from snapshots.
async fn restores(host: &Host, options: &Options, image: &str, report: &mut Report) -> Result<()> {
    let service = host.serve("auto").await?;
    let client = Client::new(service.url(), service.id())?;
    let first = client.create(WORKSHOP, 1, image).await?;
    report.made = Some(stage(&first, "snapshot"));
    let saved = Saved::make(host).await?;
    for round in 0..=options.rounds {
        let (mut by_hand, mut seat) = (None, None);
        for way in 0..2 {
            if (way + round) % 2 == 0 {
                let bare = saved.restore(host).await?;
                by_hand = Some((ms(bare.run), ms(bare.agent)));
            } else {
                seat = Some(restored::turn(&client, image).await?);
            }
        }
        if round > 0 {
            report.bare_restores.extend(by_hand);
            report.restores.extend(seat);
        }
    }
    client.destroy(WORKSHOP).await?;
    for _ in 0..options.rounds.min(CLASSES) {
        report.restored.push(class(host, &client, image).await?);
    }
    service.stop().await
}

/// A class that outlives its service.
async fn adopted(host: &Host, options: &Options, image: &str) -> Result<Adopted> {
    let mut service = host.serve("off").await?;
    let client = Client::new(service.url(), service.id())?;
    client.create("adopted", options.seats, image).await?;
    let pid = rustix::process::Pid::from_raw(service.id()).context("the service has no number")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    service.ended().await?;
    let began = Instant::now();
    let next = host.serve("off").await?;
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
