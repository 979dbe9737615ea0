//! Sockets that are not there, not yet, or no longer.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use provider_microvm::vmm::firecracker::{Api, Limits, Machine, Trouble};

use super::{hasty, said};
use crate::bench::{Bench, PATIENCE};
use crate::fake::{Fake, Options, Trick};

#[tokio::test]
async fn a_socket_that_never_opens_is_told_with_its_path() -> Result<()> {
    let bench = Bench::new()?;
    let why = Machine::fresh(bench.api_with(hasty())).await.unwrap_err();
    ensure!(why.trouble.is_gone());
    let path = bench.path("api.sock").display().to_string();
    let expected =
        format!("seat demo/1: opening: Firecracker's API socket {path} cannot be reached: No such file");
    ensure!(why.to_string().starts_with(&expected), "{why}");
    let why = said(Machine::fresh(Api::new("demo/1", "/", hasty())).await);
    ensure!(why.contains("API socket / cannot be reached"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_socket_of_a_dead_process_is_none() -> Result<()> {
    let bench = Bench::new()?;
    drop(UnixListener::bind(bench.path("api.sock"))?);
    let why = said(Machine::fresh(bench.api_with(hasty())).await);
    ensure!(why.contains("Connection refused") && why.contains("it has ended or did not start"), "{why}");
    // Nor can another process have it.
    let why = bench.fake(Options::default()).unwrap_err().to_string();
    ensure!(why.contains("Address already in use"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_socket_that_opens_late_is_waited_for() -> Result<()> {
    let bench = Bench::new()?;
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.fake(Options::default())
    };
    let (fresh, fake) = tokio::join!(Machine::fresh(bench.api()), late);
    ensure!(fresh?.version().minor == 16);
    drop(fake?);
    Ok(())
}

#[tokio::test]
async fn a_path_may_be_longer_than_an_address() -> Result<()> {
    let bench = Bench::new()?;
    let deep = bench.path(&"deep".repeat(40));
    std::fs::create_dir(&deep)?;
    // A process that is in the folder names it shortly, and so did this one before.
    let _fake = Fake::start(&bench.path("short.sock"), Options::default())?;
    std::fs::hard_link(bench.path("short.sock"), deep.join("api.sock"))?;
    let api = Api::new("demo/1", deep.join("api.sock"), Limits::default());
    ensure!(Machine::fresh(api).await?.version().major == 1);
    Ok(())
}

#[tokio::test]
async fn a_process_that_dies_is_told_by_the_call_that_meets_it() -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![("PUT /vsock", Trick::Dies)];
    let mut fake = bench.fake(Options { tricks, ..Options::default() })?;
    let configured = bench.configured().await?;
    let why = configured.set_vsock(&bench.vsock()).await.unwrap_err();
    ensure!(matches!(why.trouble, Trouble::Broken(_)) && why.trouble.is_gone(), "{why}");
    let expected = "seat demo/1: PUT /vsock: Firecracker closed its API socket before it had answered";
    ensure!(why.to_string().starts_with(expected), "{why}");
    ensure!(tokio::time::timeout(PATIENCE, fake.exited()).await? == Some(1));
    let why = configured.start().await.unwrap_err();
    ensure!(matches!(why.trouble, Trouble::Unreachable { .. }), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_restarts_ends_its_process() -> Result<()> {
    let bench = Bench::new()?;
    let mut fake = bench.fake(Options { has_keyboard: false, ..Options::default() })?;
    let running = bench.configured().await?.start().await?;
    // Nobody listens to that keyboard.
    running.send_ctrl_alt_del().await?;
    running.flush_metrics().await?;
    drop(fake);
    std::fs::remove_file(bench.path("api.sock"))?;
    fake = bench.fake(Options::default())?;
    let running = bench.configured().await?.start().await?;
    running.send_ctrl_alt_del().await?;
    ensure!(tokio::time::timeout(PATIENCE, fake.exited()).await? == Some(0));
    ensure!(running.flush_metrics().await.unwrap_err().trouble.is_gone());
    Ok(())
}
