//! Whatever call of a start the process dies at, refuses or never answers: there is no VM then, why is told, and nothing is left.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use provider_microvm::vmm::{Firecracker, Monitor as _};

use super::{DIES_AT, HANGS_AT, Place, REFUSES_AT, refused};

/// The last call of a start. What comes after it is not waited for.
const LAST: &str = "PUT /actions";

/// The calls of a start, as the fake is called.
async fn calls() -> Result<Vec<String>> {
    let place = Place::new(None)?;
    let vm = place.monitor().start(&place.spec()?).await?;
    vm.kill().await?;
    vm.exited().await?;
    let console = place.console();
    let told = console.lines().filter_map(|line| line.strip_prefix("fake: "));
    let mut calls: Vec<_> = told.filter(|call| call.contains(" /")).map(str::to_owned).collect();
    let last = calls.iter().position(|call| call == LAST).context("it was not started")?;
    calls.truncate(last + 1);
    for must in [
        "PUT /machine-config",
        "PUT /boot-source",
        "PUT /drives/data",
        "PUT /vsock",
        "PUT /entropy",
        "PUT /balloon",
    ] {
        ensure!(calls.iter().any(|call| call == must), "{calls:?}");
    }
    Ok(calls)
}

#[tokio::test]
async fn a_process_that_dies_at_any_call_of_its_start_is_told_with_its_end() -> Result<()> {
    for call in calls().await? {
        let place = Place::told(DIES_AT, &call)?;
        let why = refused(&place, &place.monitor(), &place.spec()?).await?.to_string();
        let expected =
            "seat demo/1: the VM ended while it started: the VM monitor gave up with exit code 1: fake: ends";
        ensure!(why == expected, "{call}: {why}");
        ensure!(place.console().contains("fake: listens"));
    }
    Ok(())
}

#[tokio::test]
async fn what_a_process_refuses_at_any_call_of_its_start_is_told() -> Result<()> {
    for call in calls().await? {
        let place = Place::told(REFUSES_AT, &call)?;
        let why = refused(&place, &place.monitor(), &place.spec()?).await?.to_string();
        ensure!(why == format!("seat demo/1: {call}: Firecracker refuses: on purpose"), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_process_that_does_not_answer_at_any_call_of_its_start_is_given_up() -> Result<()> {
    let hang = |call: String| async move {
        let place = Place::told(HANGS_AT, &call)?;
        let mut options = place.options();
        options.start_timeout = Duration::from_secs(10);
        let why = refused(&place, &Firecracker::new(options), &place.spec()?).await?;
        let expected =
            format!("seat demo/1: {call}: Firecracker had not answered when the 10 s of a start were over");
        ensure!(why.to_string() == expected, "{call}: {why}");
        Ok(())
    };
    // Side by side, since all of each is waiting.
    try_join_all(calls().await?.into_iter().map(hang)).await.map(drop)
}
