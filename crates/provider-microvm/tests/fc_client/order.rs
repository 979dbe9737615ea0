//! What the types do not let be written, because two clients of one process could: it is refused, and told.

use anyhow::{Result, ensure};
use provider_microvm::vmm::firecracker::{
    Attached, FirecrackerError, Machine, MemoryBackend, SnapshotFiles, SnapshotLoad, SnapshotType, Trouble,
};

use crate::bench::Bench;
use crate::fake::Options;

const TOO_LATE: &str = "The requested operation is not supported after starting the microVM.";

/// The call and the words with which it was refused.
fn refused<T>(result: Result<T, FirecrackerError>) -> (String, String) {
    match result {
        Err(FirecrackerError { seat, call, trouble: Trouble::Refused { status: 400, fault } }) => {
            assert_eq!(seat, "demo/1");
            (call, fault)
        }
        Err(why) => panic!("{why}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn pair(call: &str, fault: &str) -> (String, String) {
    (call.to_owned(), fault.to_owned())
}

#[tokio::test]
async fn there_is_one_start_a_process() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let (first, second) = (bench.configured().await?, bench.configured().await?);
    let third = Machine::fresh(bench.api()).await?;
    first.start().await?;
    ensure!(refused(second.set_vsock(&bench.vsock()).await) == pair("PUT /vsock", TOO_LATE));
    let drive = bench.drive("data", false)?;
    ensure!(refused(second.add_drive(&drive).await) == pair("PUT /drives/data", "PCI is not enabled"));
    ensure!(refused(second.start().await) == pair("PUT /actions", TOO_LATE));
    let again = third.configure(&Bench::machine(), &bench.boot()).await;
    ensure!(refused(again) == pair("PUT /machine-config", TOO_LATE));
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_loaded_by_a_fresh_process_and_by_it_alone() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let other = Machine::fresh(bench.api()).await?;
    let configured = bench.configured().await?;
    let load = SnapshotLoad {
        snapshot_path: bench.path("state"),
        mem_backend: MemoryBackend::File(bench.path("memory")),
        track_dirty_pages: false,
        network_overrides: Vec::new(),
        vsock_override: None,
        clock_realtime: false,
    };
    let (call, fault) = refused(other.load(&load).await);
    ensure!(
        call == "PUT /snapshot/load" && fault.contains("not allowed after configuring boot-specific"),
        "{fault}"
    );
    // That did not end it.
    configured.start().await?;
    Ok(())
}

#[tokio::test]
async fn a_machine_that_another_one_resumed_is_not_saved() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let paused = bench.configured().await?.start().await?.pause().await?;
    let Attached::Paused(other) = Attached::attach(bench.api()).await? else { panic!("it is paused") };
    let running = other.resume().await?;
    let files = SnapshotFiles {
        snapshot_path: bench.path("state"),
        mem_file_path: bench.path("memory"),
        snapshot_type: SnapshotType::Full,
    };
    let (call, fault) = refused(paused.create_snapshot(&files).await);
    ensure!(
        call == "PUT /snapshot/create" && fault.ends_with("save/restore unavailable while running"),
        "{fault}"
    );
    ensure!(!bench.path("state").exists());
    // Both are as they shall be when they are told so twice.
    paused.resume().await?;
    running.pause().await?;
    Ok(())
}

#[tokio::test]
async fn fresh_and_found_processes_are_told_apart() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let why = Attached::attach(bench.api()).await.unwrap_err().to_string();
    ensure!(
        why.starts_with("seat demo/1: GET /: the machine is not started, and a machine that was started"),
        "{why}"
    );
    let running = bench.configured().await?.start().await?;
    let why = Machine::fresh(bench.api()).await.unwrap_err().to_string();
    ensure!(
        why.starts_with("seat demo/1: GET /: the machine is running, and a fresh process was expected"),
        "{why}"
    );
    ensure!(running.version().to_string() == "1.16.1");
    ensure!(matches!(Attached::attach(bench.api()).await?, Attached::Running(_)));
    Ok(())
}
