//! A machine from its configuration to its end, and another one restored from it.

use std::path::Path;

use anyhow::{Result, ensure};
use provider_microvm::vmm::Throttle;
use provider_microvm::vmm::firecracker::{
    Api, Attached, Balloon, DrivePatch, Entropy, InstanceState, Limits, LogLevel, Logger, Machine,
    MemoryBackend, Metrics, RateLimiter, Serial, SnapshotFiles, SnapshotLoad, SnapshotType, TokenBucket,
};

use crate::bench::{Bench, Monitor, real};

#[tokio::test]
async fn a_machine_of_the_fake_lives_and_is_restored() -> Result<()> {
    whole_life(None).await
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn a_machine_of_the_real_one_lives_and_is_restored() -> Result<()> {
    match real()? {
        Some(program) => whole_life(Some(&program)).await,
        None => Ok(()),
    }
}

async fn whole_life(real: Option<&Path>) -> Result<()> {
    let bench = Bench::new()?;
    let mut monitor = bench.monitor(real, "api.sock")?;
    let api = || Api::new("demo/1", monitor.socket(), Limits::default());
    let fresh = Machine::fresh(api()).await?;
    let logger = Logger {
        log_path: bench.path("log"),
        level: LogLevel::Warning,
        show_level: true,
        show_log_origin: false,
        module: None,
    };
    fresh.set_logger(&logger).await?;
    fresh.set_metrics(&Metrics { metrics_path: bench.path("metrics") }).await?;
    let rate_limiter = Some(TokenBucket::per_second(1 << 20));
    fresh.set_serial(&Serial { serial_out_path: bench.path("serial"), rate_limiter }).await?;
    let configured = fresh.configure(&Bench::machine(), &bench.boot()).await?;
    configured.add_drive(&bench.drive("root", true)?).await?;
    let throttle = Throttle { bytes_per_second: 1 << 20, operations_per_second: 100 };
    let mut data = bench.drive("data", false)?;
    data.rate_limiter = Some(throttle.into());
    configured.add_drive(&data).await?;
    configured.set_vsock(&bench.vsock()).await?;
    configured.set_entropy(&Entropy { rate_limiter: Some(RateLimiter::default()) }).await?;
    let balloon = Balloon {
        amount_mib: 0,
        deflate_on_oom: true,
        stats_polling_interval_s: 1,
        free_page_reporting: true,
    };
    configured.set_balloon(&balloon).await?;
    ensure!(api().state().await? == InstanceState::NotStarted);
    let running = configured.start().await?;
    ensure!(api().state().await? == InstanceState::Running);

    let patch = DrivePatch {
        drive_id: data.drive_id.clone(),
        path_on_host: Some(data.path_on_host.clone()),
        rate_limiter: Some(Throttle { bytes_per_second: 0, operations_per_second: 0 }.into()),
    };
    running.patch_drive(&patch).await?;
    ensure!(running.balloon_stats().await?.target_mib == 0);
    running.set_balloon_interval(1).await?;
    // This guest has no driver for it.
    let why = running.set_balloon_amount(16).await.unwrap_err().to_string();
    ensure!(why.ends_with("Balloon: Device not activated yet."), "{why}");
    running.flush_metrics().await?;

    running.pause().await?;
    let Attached::Paused(paused) = Attached::attach(api()).await? else { anyhow::bail!("it is not paused") };
    let files = SnapshotFiles {
        snapshot_path: bench.path("state"),
        mem_file_path: bench.path("memory"),
        snapshot_type: SnapshotType::Full,
    };
    paused.create_snapshot(&files).await?;
    ensure!(std::fs::metadata(bench.path("memory"))?.len() == 64 << 20);
    let running = paused.resume().await?;
    running.send_ctrl_alt_del().await?;
    ensure!(monitor.exited().await? == Some(0), "the guest restarted");

    restored(&bench, real, files).await
}

/// Restores two machines at the same time from one snapshot.
async fn restored(bench: &Bench, real: Option<&Path>, files: SnapshotFiles) -> Result<()> {
    let mut load = SnapshotLoad {
        snapshot_path: files.snapshot_path,
        mem_backend: MemoryBackend::File(files.mem_file_path),
        track_dirty_pages: false,
        network_overrides: Vec::new(),
        vsock_override: Some(bench.path("vsock-1.sock")),
        clock_realtime: true,
    };
    let mut first = bench.monitor(real, "api-1.sock")?;
    let mut second = bench.monitor(real, "api-2.sock")?;
    let api = |monitor: &Monitor| Api::new("demo/1", monitor.socket(), Limits::default());
    let running = Machine::fresh(api(&first)).await?.load_and_resume(&load).await?;
    load.vsock_override = Some(bench.path("vsock-2.sock"));
    let paused = Machine::fresh(api(&second)).await?.load(&load).await?;
    ensure!(api(&first).state().await? == InstanceState::Running);
    ensure!(api(&second).state().await? == InstanceState::Paused);
    ensure!(bench.path("vsock-1.sock").exists() && bench.path("vsock-2.sock").exists());
    paused.resume().await?.send_ctrl_alt_del().await?;
    running.send_ctrl_alt_del().await?;
    ensure!(first.exited().await? == Some(0) && second.exited().await? == Some(0));
    Ok(())
}
