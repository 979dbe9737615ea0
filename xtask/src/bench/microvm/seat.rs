//! One seat of the service, from the request to its workspace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::host::Host;
use super::memory::Memory;
use crate::bench::service::Client;
use crate::bench::ways::Made;

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(1);
/// The workshop of the turns. Its first seat stays, so that a turn has a seat's part of the network and not a workshop's.
pub(super) const WORKSHOP: &str = "bench";
/// The seat of a turn.
pub(super) const SEAT: u16 = 2;

/// What one turn showed, in milliseconds unless said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    /// From the request until its keeper has noted the monitor's process, or the first one of a jailed monitor's namespace.
    pub(super) process: f64,
    /// From the request until the monitor's record is there, which its keeper writes once it runs.
    pub(super) started: f64,
    /// From then until the agent waits for its host.
    pub(super) agent: f64,
    /// From the agent until the request is answered: the workspace takes connections.
    pub(super) workspace: f64,
    /// What the service tells of its stages, by their names.
    pub(super) stages: BTreeMap<String, f64>,
    /// Bytes of the seat's two disks on the host's disk, right after.
    pub(super) disk_bytes: u64,
    pub(super) memory: Memory,
}

/// Makes one seat, looks at it, and takes it away.
pub(super) async fn turn(host: &Host, client: &Client, image: &str) -> Result<Turn> {
    let folder = host.seat(WORKSHOP, SEAT);
    let began = Instant::now();
    let watching = async {
        while started_process(&folder.join("run/keeper.lock")).is_none() {
            tokio::time::sleep(LOOK).await;
        }
        let process = began.elapsed();
        while !folder.join("run/vmm.json").exists() {
            tokio::time::sleep(LOOK).await;
        }
        let started = began.elapsed();
        while !agent_is_up(&folder.join("console.log")) {
            tokio::time::sleep(LOOK).await;
        }
        (process, started, began.elapsed())
    };
    let creating = async {
        let made = client.grow(WORKSHOP, SEAT - 1..SEAT, image).await;
        (made, began.elapsed())
    };
    // A seat that does not come up ends the watch.
    tokio::pin!(watching, creating);
    let mut seen = None;
    let (made, all) = loop {
        tokio::select! {
            times = &mut watching, if seen.is_none() => seen = Some(times),
            made = &mut creating => break made,
        }
    };
    let made = made?;
    let (process, started, agent) =
        seen.context("the seat is up, and its agent was not seen on the console")?;
    let turn = Turn {
        process: ms(process),
        started: ms(started),
        agent: ms(agent - started),
        workspace: ms(all - agent),
        stages: stages(&made)?,
        disk_bytes: allocated(&folder.join("scratch.img"))? + allocated(&folder.join("data.img"))?,
        memory: Memory::of(&processes(&folder)?)?,
    };
    client.destroy_seat(WORKSHOP, SEAT).await?;
    Ok(turn)
}

/// Whether the agent said that it waits for its host: the last thing before the two differ.
pub(super) fn agent_is_up(console: &Path) -> bool {
    let text = fs::read(console).unwrap_or_default();
    String::from_utf8_lossy(&text).contains("clarateach-agent: waits for the host")
}

/// The process that a keeper has noted in its lock as the one that it started. A note that is just written is not understood.
pub(super) fn started_process(lock: &Path) -> Option<i64> {
    let owner: Value = serde_json::from_slice(&fs::read(lock).ok()?).ok()?;
    owner["vmm"]["pid"].as_i64()
}

/// The process numbers of a seat's keeper, of what it started, and of what that did in turn: a jailed monitor is the child of the first process of its namespace.
pub(super) fn processes(folder: &Path) -> Result<Vec<i64>> {
    let record: Value = serde_json::from_slice(&fs::read(folder.join("run/vmm.json"))?)?;
    let pid = |of: &str| record[of]["pid"].as_i64().with_context(|| format!("no {of} in {record}"));
    let (keeper, started) = (pid("keeper")?, pid("vmm")?);
    let path = format!("/proc/{started}/task/{started}/children");
    let children = fs::read_to_string(&path).context(path)?;
    let children = children.split_whitespace().map(|child| Ok(child.parse()?));
    [Ok(keeper), Ok(started)].into_iter().chain(children).collect()
}

/// Blocks of stat(2) have 512 bytes.
fn allocated(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.blocks() * 512)
}

/// The stages of the one seat.
fn stages(made: &Made) -> Result<BTreeMap<String, f64>> {
    let one = |(name, times): (&String, &Vec<f64>)| Some((name.clone(), *times.first()?));
    let stages: BTreeMap<_, _> = made.stages.iter().filter_map(one).collect();
    for name in ["check", "network", "volume", "create"] {
        ensure!(stages.contains_key(name), "the service tells no stage {name}: {stages:?}");
    }
    Ok(stages)
}

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_notes_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("keeper.lock");
        assert_eq!(started_process(&lock), None, "there is no keeper");
        let keeper = r#"{"boot_id": "x", "keeper": {"pid": 7, "start_time": 1}"#;
        for (vmm, pid) in
            [(r#", "vmm": null}"#, None), (", \"vm", None), (r#", "vmm": {"pid": 8}}"#, Some(8))]
        {
            fs::write(&lock, format!("{keeper}{vmm}")).unwrap();
            assert_eq!(started_process(&lock), pid, "{vmm}");
        }
    }
}
