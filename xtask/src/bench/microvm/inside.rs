//! The run itself, in its namespace.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::host::Host;
use super::seat::{Turn, WORKSHOP, ms, turn};
use super::{Options, bare, print};
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
    /// Of the bare command: milliseconds until QEMU answers, and from there until the agent waits for its host.
    pub(super) bare: Vec<(f64, f64)>,
    pub(super) turns: Vec<Turn>,
    pub(super) adopted: Option<Adopted>,
}

/// A service that was killed with a class up, and the next one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Adopted {
    pub(super) seats: u16,
    /// Milliseconds from the start of the next service until its list shows all of them as seats whose VMs live.
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
    let service = host.serve().await?;
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
    client.create("class", options.seats, &image).await?;
    let mut service = service;
    let pid = rustix::process::Pid::from_raw(service.id()).context("the service has no number")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    service.ended().await?;
    let began = Instant::now();
    let next = host.serve().await?;
    let client = Client::new(next.url(), next.id())?;
    let mut known = None;
    loop {
        let states = client.states("class").await?;
        let live = states.iter().filter(|state| matches!(state.as_str(), "starting" | "running")).count();
        if live == usize::from(options.seats) {
            known.get_or_insert(began.elapsed());
        }
        if let Some(known) = known
            && states.iter().all(|state| state == "running")
        {
            let (known, answered) = (ms(known), ms(began.elapsed()));
            report.adopted = Some(Adopted { seats: options.seats, known, answered });
            break;
        }
        ensure!(began.elapsed() < HANG, "the next service does not know the seats again: {states:?}");
        tokio::time::sleep(BETWEEN).await;
    }
    client.destroy("class").await?;
    next.stop().await?;
    Ok(report)
}
