//! What one turn costs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::child;
use super::disk::Disk;
use crate::bench::process::cpu_time_with_children;
use crate::bench::ways::millis;
use crate::stop::Stop;

/// What something took of the machine.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// On the clock, in milliseconds.
    pub(super) wall_ms: f64,
    /// Processor time of the programs, in milliseconds.
    pub(super) cpu_ms: f64,
    /// Processor time of dockerd and containerd, and what they started and waited for.
    pub(super) engine_cpu_ms: f64,
    /// The largest resident set of one of the programs.
    pub(super) peak_mib: f64,
    /// What the programs made dirty in files on disks, where that can be seen. What a loop device's kernel thread
    /// writes is not theirs.
    pub(super) written_mib: Option<f64>,
    /// What the whole machine wrote to the disk meanwhile.
    pub(super) disk_mib: Option<f64>,
}

/// Runs a program and weighs it; also what it printed.
pub(super) async fn weigh(
    command: Command,
    engine: &[i32],
    disk: &Disk,
    logs: &Path,
    stop: &Stop,
) -> Result<(Cost, String)> {
    let engine_before = cpu_time_with_children(engine)?;
    let disk_before = disk.written()?;
    let ended = child::run(command, logs, stop).await?;
    let disk_after = disk.written()?;
    let engine_cpu = cpu_time_with_children(engine)?.saturating_sub(engine_before);
    let cost = Cost {
        wall_ms: millis(ended.wall),
        cpu_ms: millis(ended.cpu),
        engine_cpu_ms: millis(engine_cpu),
        peak_mib: mib(ended.peak),
        written_mib: ended.written.map(mib),
        disk_mib: disk_before.zip(disk_after).map(|(before, after)| mib(after.saturating_sub(before))),
    };
    Ok((cost, ended.output))
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
