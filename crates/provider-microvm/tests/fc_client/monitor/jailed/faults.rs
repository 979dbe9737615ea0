//! Whatever call of saving a VM, or of going on from what was saved, the process dies at, refuses or never answers: why is told, and nothing is left.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use provider_microvm::vmm::firecracker::Limits;
use provider_microvm::vmm::{Firecracker, Monitor as _, Snapshot, Snapshots as _, VmmError};
use vm_testbed::{Need, can_run};

use super::super::{DIES_AT, FAULTS_AFTER, HANGS_AT, REFUSES_AT};
use super::{BOOTED, IMAGE, Jailed};

/// How long is waited for a process that does not answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A variable of the fake's.
fn variable(name: &str, value: &str) -> String {
    format!("export {name}='{value}'\n")
}

/// A snapshot that stays, and what the fake is asked for it after the boot.
async fn golden() -> Result<(Jailed, Vec<String>)> {
    let jailed = Jailed::new()?;
    jailed.ended(jailed.saved(jailed.options(), &jailed.path("golden"))).await?;
    let mut calls = jailed.calls();
    let boot = calls.iter().position(|call| call == BOOTED).context("it was not booted")?;
    calls.drain(..=boot);
    ensure!(calls == ["GET /version", "GET /", "PATCH /vm", "PUT /snapshot/create"], "{calls:?}");
    Ok((jailed, calls))
}

/// What the fake is asked by a VM that goes on from a snapshot.
async fn calls_of_going_on(golden: &Jailed) -> Result<Vec<String>> {
    let jailed = Jailed::new()?;
    let going_on = async {
        let snapshot = Snapshot::open(&golden.path("golden"))?;
        let vm = Firecracker::new(jailed.options()).restore(&jailed.spec()?, IMAGE, &snapshot).await?;
        vm.kill().await?;
        Ok(())
    };
    jailed.ended(going_on).await?;
    let calls = jailed.calls();
    let (asked, own) = calls.split_at(calls.len().min(2));
    ensure!(asked == ["GET /version", "GET /"], "{calls:?}");
    let expected =
        ["PUT /metrics", "PUT /snapshot/load", "PATCH /drives/root", "PATCH /drives/data", "PATCH /vm"];
    ensure!(own == expected, "{calls:?}");
    Ok(calls)
}

/// Why a VM that is told so does not go on, after which nothing is left of it.
async fn does_not_go_on(golden: &Jailed, fault: &str, call: &str) -> Result<VmmError> {
    let jailed = Jailed::told(&variable(fault, call))?;
    let mut options = jailed.options();
    options.start_timeout = LIMIT;
    let snapshot = Snapshot::open(&golden.path("golden"))?;
    let gone_on = Firecracker::new(options).restore(&jailed.spec()?, IMAGE, &snapshot).await;
    let why = gone_on.map(drop).err().with_context(|| format!("{call}: it went on"))?;
    // Nothing more is to be done by whoever is told.
    jailed.nothing_left().with_context(|| format!("{call}: {why}"))?;
    golden.nothing_left()?;
    Ok(why)
}

/// Why a VM that is told so is not saved, after which nothing is left of it once it is cleared away.
async fn is_not_saved(fault: &str, call: &str) -> Result<String> {
    let told = variable(fault, call) + &variable(FAULTS_AFTER, BOOTED);
    let jailed = Jailed::told(&told)?;
    let mut options = jailed.options();
    options.limits = Limits { call: LIMIT, snapshot: LIMIT, ..Limits::default() };
    let folder = jailed.path("golden");
    let saved = jailed.saved(options.clone(), &folder).await;
    let why = saved.err().with_context(|| format!("{call}: it was saved"))?.to_string();
    ensure!(!folder.exists() && !jailed.path("golden.new").exists(), "{call}: half a snapshot is there");
    Firecracker::new(options).clear("demo/1", &jailed.place.folder()).await?;
    jailed.nothing_left().with_context(|| format!("{call}: {why}"))?;
    Ok(why)
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_dies_at_any_call_of_going_on_is_told_with_its_end() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let (golden, _) = golden().await?;
    for call in calls_of_going_on(&golden).await? {
        let why = does_not_go_on(&golden, DIES_AT, &call).await?.to_string();
        let expected =
            "seat demo/1: the VM ended while it started: the VM monitor gave up with exit code 1: fake: ends";
        ensure!(why == expected, "{call}: {why}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root"]
async fn what_a_process_refuses_at_any_call_of_going_on_is_told() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let (golden, _) = golden().await?;
    for call in calls_of_going_on(&golden).await? {
        let why = does_not_go_on(&golden, REFUSES_AT, &call).await?.to_string();
        let expected = if call == "PUT /snapshot/load" {
            let folder = golden.path("golden");
            let folder = folder.display();
            format!("seat demo/1: the snapshot {folder} cannot be loaded: on purpose; it has to be made anew")
        } else {
            format!("seat demo/1: {call}: Firecracker refuses: on purpose")
        };
        ensure!(why == expected, "{call}: {why}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_does_not_answer_at_any_call_of_going_on_is_given_up() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let (golden, _) = golden().await?;
    let hang = |call: String| {
        let golden = &golden;
        async move {
            let why = does_not_go_on(golden, HANGS_AT, &call).await?.to_string();
            let expected = format!(
                "seat demo/1: {call}: Firecracker had not answered when the 10 s of a start were over"
            );
            ensure!(why == expected, "{call}: {why}");
            Ok(())
        }
    };
    // Side by side, since all of each is waiting.
    try_join_all(calls_of_going_on(&golden).await?.into_iter().map(hang)).await.map(drop)
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_dies_at_any_call_of_saving_leaves_no_half_snapshot() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    for call in golden().await?.1 {
        let why = is_not_saved(DIES_AT, &call).await?;
        let expected =
            format!("seat demo/1: {call}: Firecracker closed its API socket before it had answered: ");
        ensure!(why.starts_with(&expected), "{call}: {why}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root"]
async fn what_a_process_refuses_at_any_call_of_saving_leaves_no_half_snapshot() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    for call in golden().await?.1 {
        let why = is_not_saved(REFUSES_AT, &call).await?;
        ensure!(why == format!("seat demo/1: {call}: Firecracker refuses: on purpose"), "{call}: {why}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_does_not_answer_at_any_call_of_saving_leaves_no_half_snapshot() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let hang = |call: String| async move {
        let why = is_not_saved(HANGS_AT, &call).await?;
        let expected = format!("seat demo/1: {call}: Firecracker did not answer within 10 s");
        ensure!(why == expected, "{call}: {why}");
        Ok(())
    };
    // Side by side, since all of each is waiting.
    try_join_all(golden().await?.1.into_iter().map(hang)).await.map(drop)
}
