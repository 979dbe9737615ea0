//! Seats side by side, however they come up.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::memory::Memory;
use super::seat::{ms, processes};
use crate::bench::service::Client;
use crate::bench::ways::Made;

/// How long seats have been idle when their memory is looked at.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// How long the kernel has to give back what the seats had that went.
pub(super) const GONE: Duration = Duration::from_secs(1);

const WORKSHOP: &str = "class";

/// What one class showed, in milliseconds unless said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Class {
    /// From the request until the last agent has answered.
    pub(super) agent: f64,
    /// From the request until it is answered: every workspace takes connections.
    pub(super) workspace: f64,
    /// Of the monitors and keepers of a seat, in MiB: what goes with it while others like it stay.
    pub(super) further: Memory,
    /// What monitors and keepers of all have, in MiB.
    pub(super) all: Memory,
}

/// Makes a class of at least two, looks at it, takes a half of it away to see what that had, and then the rest.
pub(super) async fn class(host: &Host, client: &Client, image: &str, seats: u16) -> Result<Class> {
    let began = Instant::now();
    let made = client.create(WORKSHOP, seats, image).await?;
    let workspace = ms(began.elapsed());
    let agent = (0..usize::from(seats)).map(|seat| to_agent(&made, seat)).fold(0.0, f64::max);
    tokio::time::sleep(IDLE).await;
    let all = of(host, seats)?;
    let stay = seats / 2;
    for seat in stay + 1..=seats {
        client.destroy_seat(WORKSHOP, seat).await?;
    }
    tokio::time::sleep(GONE).await;
    let stayed = of(host, stay)?;
    client.destroy(WORKSHOP).await?;
    let further = all.each_of(stayed, seats - stay);
    Ok(Class { agent, workspace, further, all })
}

/// Whether a stage comes before the agent has answered.
pub(super) fn is_to_agent(stage: &str) -> bool {
    !["inspect", "ready"].contains(&stage)
}

/// Milliseconds from the request until the agent of one of the seats that were made has answered. They begin at the same time.
pub(super) fn to_agent(made: &Made, seat: usize) -> f64 {
    let before = made.stages.iter().filter(|(stage, _)| is_to_agent(stage));
    before.filter_map(|(_, took)| took.get(seat)).sum()
}

/// What the first seats of the class have together. A page that several have counts once.
fn of(host: &Host, seats: u16) -> Result<Memory> {
    let mut sum = Memory { guest: 0.0, beyond: 0.0 };
    for seat in 1..=seats {
        let of_seat = Memory::of(&processes(&host.seat(WORKSHOP, seat))?);
        let Memory { guest, beyond } = of_seat.with_context(|| format!("seat {seat}"))?;
        sum = Memory { guest: sum.guest + guest, beyond: sum.beyond + beyond };
    }
    Ok(sum)
}
