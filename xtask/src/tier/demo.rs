//! The demo, from its start to its end, in a folder, with a workshop and on a port of its own.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, secrets};
use crate::child::record;
use crate::counts::Report;

const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Report> {
    if let Some(why) = &bench.no_engine {
        return Ok(Report::skipped(1, why));
    }
    let mut demo = bench.repo.command(std::env::current_exe()?);
    demo.args([
        "demo",
        "--once",
        "--port",
        "0",
        "--portal-port",
        "0",
        "--workshop",
        &format!("demo-{}", std::process::id()),
    ]);
    demo.arg("--service").arg(bench.repo.service()).arg("--folder").arg(bench.output.join("demo"));
    demo.env("DEMO_API_KEY", format!("{}demo", secrets::MARKER)).env_remove("DEMO_SEATS");
    let log = bench.output.join("demo.log");
    let record = record(&mut demo, &log, LIMIT, bench.stop, |line| Some(format!("  {line}"))).await?;
    Ok(Report::one(record.trouble))
}
