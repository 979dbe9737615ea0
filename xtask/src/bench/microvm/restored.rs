//! One seat of the service that goes on from a snapshot.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::class::to_agent;
use super::seat::{SEAT, WORKSHOP, ms};
use crate::bench::service::Client;
use crate::bench::ways::Made;

/// What one turn showed, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Restored {
    /// From the request until the agent has answered.
    pub(super) agent: f64,
    /// From the request until it is answered: the workspace takes connections.
    pub(super) workspace: f64,
    /// The one stage in which another seat boots.
    pub(super) restore: f64,
}

/// Makes one seat, and takes it away.
pub(super) async fn turn(client: &Client, image: &str) -> Result<Restored> {
    let began = Instant::now();
    let made = client.grow(WORKSHOP, SEAT - 1..SEAT, image).await?;
    let workspace = ms(began.elapsed());
    client.destroy_seat(WORKSHOP, SEAT).await?;
    ensure!(!made.stages.contains_key("start"), "the seat booted: {:?}", made.stages);
    Ok(Restored { agent: to_agent(&made, 0), workspace, restore: stage(&made, "restore") })
}

/// Milliseconds of a stage of the one seat.
pub(super) fn stage(made: &Made, name: &str) -> f64 {
    made.stages.get(name).and_then(|took| took.first()).copied().unwrap_or_default()
}
