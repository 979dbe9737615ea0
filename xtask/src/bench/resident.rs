//! The service with many seats: memory, listing, and a restart that disturbs nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::query_parameters::InspectContainerOptions;
use serde::Serialize;

use super::list::{self, Listing};
use super::objects::container_name;
use super::start::{Running, Setup};
use super::ways::{answers, millis};
use super::{Options, process, sweep};
use crate::console;

/// What a seat of the testbed takes of the machine: its shim, a shell and two small servers.
const SEAT_MIB: f64 = 40.0;
/// What is left to everybody else.
const SPARE_MIB: f64 = 1024.0;
const IDLE: Duration = Duration::from_secs(15);

/// Figures of a service with many seats; memory in MiB.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Resident {
    pub(super) seats: u16,
    pub(super) create_ms: f64,
    pub(super) destroy_ms: f64,
    pub(super) rss_started: f64,
    pub(super) rss_class_made: f64,
    pub(super) rss_listed: f64,
    pub(super) rss_idle: f64,
    pub(super) rss_after_samples: f64,
    pub(super) rss_highest: f64,
    pub(super) listing: Option<Listing>,
    /// From the start of a new process until it has listed every seat as running.
    pub(super) restart_ms: f64,
}

/// Measures with a fresh service. `None` when nothing is wanted.
pub(super) async fn measure(
    docker: &Docker,
    setup: Setup<'_>,
    options: &Options,
) -> Result<Option<Resident>> {
    let room = (process::memory_mib()?.0 - SPARE_MIB) / SEAT_MIB;
    let seats = options.resident_seats.min(room.max(0.0) as u16);
    if seats == 0 {
        return Ok(None);
    }
    if seats < options.resident_seats {
        console::line(&format!("free memory has room for {seats} of {} seats", options.resident_seats));
    }
    let workshop = sweep::workshop();
    let service = setup.start().await?;
    let id = service.client.id;
    let (rss_started, _) = process::resident_mib(id)?;

    let began = Instant::now();
    let made = service.client.create(&workshop, seats, &options.image).await?;
    let create_ms = millis(began.elapsed());
    for address in made.addresses {
        answers(address).await?;
    }
    let (rss_class_made, _) = process::resident_mib(id)?;
    all_run(&service, &workshop, seats).await?;
    let (rss_listed, _) = process::resident_mib(id)?;
    tokio::time::sleep(IDLE).await;
    let (rss_idle, _) = process::resident_mib(id)?;
    let listing = list::measure(docker, &service.client, &workshop, seats, options.list_samples).await?;
    let (rss_after_samples, rss_highest) = process::resident_mib(id)?;

    let before = births(docker, &workshop, seats).await?;
    service.stop().await?;
    let began = Instant::now();
    let service = setup.start().await?;
    all_run(&service, &workshop, seats).await?;
    let restart_ms = millis(began.elapsed());
    ensure!(births(docker, &workshop, seats).await? == before, "the restart of the service disturbed a seat");

    let began = Instant::now();
    let destroyed = service.client.destroy(&workshop).await;
    let destroy_ms = millis(began.elapsed());
    sweep::judge(docker, &workshop, destroyed).await?;
    service.stop().await?;
    Ok(Some(Resident {
        seats,
        create_ms,
        destroy_ms,
        rss_started,
        rss_class_made,
        rss_listed,
        rss_idle,
        rss_after_samples,
        rss_highest,
        listing,
        restart_ms,
    }))
}

async fn all_run(service: &Running, workshop: &str, seats: u16) -> Result<()> {
    let running = service.client.list(workshop).await?;
    ensure!(running == usize::from(seats), "{running} of {seats} seats run");
    Ok(())
}

/// When each container was started, and which one it is.
async fn births(
    docker: &Docker,
    workshop: &str,
    seats: u16,
) -> Result<BTreeMap<Option<String>, Option<String>>> {
    let mut births = BTreeMap::new();
    for seat in 1..=seats {
        let name = container_name(workshop, seat);
        let seen = docker.inspect_container(&name, None::<InspectContainerOptions>).await?;
        births.insert(seen.id, seen.state.and_then(|state| state.started_at));
    }
    Ok(births)
}
