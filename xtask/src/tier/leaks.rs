//! Nothing of ours on the engine that it did not hold before the first tier.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use crate::counts::Report;
use crate::engine;

/// What goes away by itself within this time belongs to somebody who uses the same engine: our own tests and the demo
/// have ended, and what they left stays.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Report> {
    if let Some(why) = &bench.no_engine {
        return Ok(Report::skipped(1, why));
    }
    let started = Instant::now();
    let mut left = engine::objects(None).await?;
    left.retain(|object| !bench.before.contains(object));
    while !left.is_empty() && started.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
        let now = bench.stop.or(engine::objects(None)).await?;
        left.retain(|object| now.contains(object));
    }
    let mut stuck = Vec::new();
    for network in left.iter().filter(|object| object.kind == "network") {
        if engine::is_stuck(&network.name).await? {
            stuck.push(network.clone());
        }
    }
    left.retain(|object| !stuck.contains(object));
    if left.is_empty() && !stuck.is_empty() {
        let names: Vec<_> = stuck.iter().map(|network| network.name.as_str()).collect();
        let why =
            "the engine lost count of their endpoints and keeps them until it is restarted (moby 42119)";
        return Ok(Report::skipped(1, format!("{}: {why}", names.join(", "))));
    }
    let names: Vec<_> = left.iter().map(ToString::to_string).collect();
    let trouble = format!("{} objects were left on the engine\n    {}", left.len(), names.join("\n    "));
    Ok(Report::one((!left.is_empty()).then_some(trouble)))
}
