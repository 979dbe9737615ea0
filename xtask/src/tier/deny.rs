//! Licences, bans and sources of all dependencies.
//!
//! Advisories are left to `cargo deny check advisories`: their database comes over the network, and a test must not
//! fail because of what somebody found out today.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use crate::child::{installed, record};
use crate::counts::Report;

const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Report> {
    if !installed("cargo-deny") {
        return Ok(Report::skipped(1, "cargo-deny is not installed (cargo install --locked cargo-deny)"));
    }
    let mut cargo = bench.repo.cargo();
    cargo.args(["deny", "--color", "never", "check", "--hide-inclusion-graph"]);
    cargo.args(["licenses", "bans", "sources"]);
    let log = bench.output.join("deny.log");
    let record = record(&mut cargo, &log, LIMIT, bench.stop, |line| {
        (line.starts_with("error") || line.starts_with("bans ")).then(|| format!("  {line}"))
    });
    let record = record.await?;
    Ok(Report::one(record.trouble))
}
