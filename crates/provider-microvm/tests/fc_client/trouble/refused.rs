//! What Firecracker refuses, in its words and with the call and the seat.

use anyhow::{Result, ensure};
use provider_microvm::vmm::firecracker::{
    Balloon, BootSource, DeviceId, DrivePatch, Logger, Machine, Metrics, NetworkPatch, RateLimiter, Vsock,
};

use super::said;
use crate::bench::Bench;
use crate::fake::Options;

const NOT_FOUND: &str = "No such file or directory (os error 2)";

#[tokio::test]
async fn files_are_looked_for_when_they_are_told() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let fresh = || Machine::fresh(bench.api());
    let nowhere = || bench.path("no/such/file");
    let logger = Logger {
        log_path: nowhere(),
        level: Default::default(),
        show_level: true,
        show_log_origin: true,
        module: None,
    };
    let why = said(fresh().await?.set_logger(&logger).await);
    ensure!(
        why == format!(
            "seat demo/1: PUT /logger: Firecracker refuses: Logger error: Failed to open target file: {NOT_FOUND}"
        )
    );
    let why = said(fresh().await?.set_metrics(&Metrics { metrics_path: nowhere() }).await);
    ensure!(why.ends_with(&format!("bad user input: {NOT_FOUND}")), "{why}");
    let kernel = BootSource { kernel_image_path: nowhere(), ..bench.boot() };
    let why = said(fresh().await?.configure(&Bench::machine(), &kernel).await);
    ensure!(why.ends_with(&format!("PUT /boot-source: Firecracker refuses: Boot source error: The kernel file cannot be opened: {NOT_FOUND}")));
    let initrd = BootSource { initrd_path: Some(nowhere()), ..bench.boot() };
    let why = said(fresh().await?.configure(&Bench::machine(), &initrd).await);
    ensure!(why.contains("The initrd file cannot be opened"), "{why}");
    let mut drive = bench.drive("data", false)?;
    drive.path_on_host = nowhere();
    let configured = bench.configured().await?;
    let why = said(configured.add_drive(&drive).await);
    let path = nowhere().display().to_string();
    ensure!(why.ends_with(&format!("Error manipulating the backing file: {NOT_FOUND} {path}")), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_kernel_that_cannot_be_loaded_is_found_at_the_start() -> Result<()> {
    let bench = Bench::new()?;
    std::fs::write(bench.path("vmlinux"), "MZ and so on")?;
    let fake = bench.fake(Options::default())?;
    let why = said(bench.configured().await?.start().await);
    let expected = "seat demo/1: PUT /actions: Firecracker refuses: Start microvm error: System configuration error: Cannot load kernel";
    ensure!(why.starts_with(expected), "{why}");
    ensure!(fake.with(|process| process.exit).is_none());
    Ok(())
}

#[tokio::test]
async fn a_tap_device_that_is_not_there_is_refused_or_made() -> Result<()> {
    let bench = Bench::new()?;
    let fake = bench.fake(Options::default())?;
    let configured = bench.configured().await?;
    let why = said(configured.add_network_interface(&Bench::nic("eth0", "ctt9", 1)?).await);
    ensure!(
        why.starts_with(
            "seat demo/1: PUT /network-interfaces/eth0: Firecracker refuses: Network config error"
        )
    );
    ensure!(why.contains("Operation not permitted") && why.contains("provided by ctt9"), "{why}");
    configured.add_network_interface(&Bench::nic("eth0", "ctt0", 1)?).await?;
    let why = said(configured.add_network_interface(&Bench::nic("eth1", "ctt1", 1)?).await);
    ensure!(why.ends_with("The MAC address is already in use: 02:c7:0a:00:00:01"), "{why}");
    ensure!(fake.with(|process| process.made.is_empty() && process.nics.len() == 1));
    drop(fake);

    // With root's rights nothing tells that the name was wrong.
    std::fs::remove_file(bench.path("api.sock"))?;
    let fake = bench.fake(Options { makes_taps: true, ..Options::default() })?;
    bench.configured().await?.add_network_interface(&Bench::nic("eth0", "ctt9", 1)?).await?;
    ensure!(fake.with(|process| process.made.clone()) == ["ctt9"]);
    Ok(())
}

#[tokio::test]
async fn a_vsock_path_that_is_there_is_in_use() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let configured = bench.configured().await?;
    std::fs::write(bench.path("vsock.sock"), "")?;
    let why = said(configured.set_vsock(&bench.vsock()).await);
    ensure!(
        why.starts_with("seat demo/1: PUT /vsock:") && why.ends_with("Address already in use (os error 98)"),
        "{why}"
    );
    configured.set_vsock(&Vsock { uds_path: bench.path("other.sock"), ..bench.vsock() }).await?;
    Ok(())
}

#[tokio::test]
async fn metrics_are_set_once() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let fresh = Machine::fresh(bench.api()).await?;
    let metrics = Metrics { metrics_path: bench.path("metrics") };
    fresh.set_metrics(&metrics).await?;
    let why = said(fresh.set_metrics(&metrics).await);
    ensure!(why.ends_with("Reinitialization of metrics not allowed."), "{why}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_not_changed() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let running = bench.configured().await?.start().await?;
    let drive = DrivePatch {
        drive_id: DeviceId::new("data")?,
        path_on_host: None,
        rate_limiter: Some(RateLimiter::default()),
    };
    let why = said(running.patch_drive(&drive).await);
    ensure!(why.starts_with("seat demo/1: PATCH /drives/data:") && why.contains("Device not found"), "{why}");
    let nic = NetworkPatch { iface_id: DeviceId::new("eth0")?, rx_rate_limiter: None, tx_rate_limiter: None };
    let why = said(running.patch_network_interface(&nic).await);
    ensure!(
        why.starts_with("seat demo/1: PATCH /network-interfaces/eth0:") && why.contains("Device not found"),
        "{why}"
    );
    for why in [
        said(running.set_balloon_amount(1).await),
        said(running.set_balloon_interval(1).await),
        said(running.balloon_stats().await),
    ] {
        ensure!(why.starts_with("seat demo/1: ") && why.ends_with("Device not found"), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_balloon_is_no_larger_than_the_guest() -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options::default())?;
    let configured = bench.configured().await?;
    let balloon = Balloon {
        amount_mib: 65,
        deflate_on_oom: true,
        stats_polling_interval_s: 0,
        free_page_reporting: false,
    };
    let why = said(configured.set_balloon(&balloon).await);
    ensure!(why.ends_with(
        "PUT /balloon: Firecracker refuses: Balloon config error: Amount of pages requested is too large."
    ));
    configured.set_balloon(&Balloon { amount_mib: 1, ..balloon }).await?;
    let running = configured.start().await?;
    ensure!(
        said(running.set_balloon_amount(65).await).ends_with("Requested memory should be less than 65MiB")
    );
    running.set_balloon_amount(64).await?;
    let why = said(running.set_balloon_interval(1).await);
    ensure!(why.ends_with("Statistics cannot be enabled/disabled after activation."), "{why}");
    ensure!(said(running.balloon_stats().await).ends_with("Received stats query when stats are disabled."));
    Ok(())
}

#[tokio::test]
async fn a_setting_out_of_bounds_is_told_with_its_call_and_not_sent() -> Result<()> {
    let bench = Bench::new()?;
    let fake = bench.fake(Options::default())?;
    let mut machine = Bench::machine();
    machine.vcpu_count = 0;
    let why = said(Machine::fresh(bench.api()).await?.configure(&machine, &bench.boot()).await);
    ensure!(why == "seat demo/1: PUT /machine-config: 1 to 32 virtual processors are possible", "{why}");
    let mut boot = bench.boot();
    boot.boot_args = "x".repeat(52_000);
    let why = said(Machine::fresh(bench.api()).await?.configure(&Bench::machine(), &boot).await);
    ensure!(why.ends_with("are more than the 51200 that Firecracker reads"), "{why}");
    let configured = bench.configured().await?;
    let why = said(configured.set_vsock(&Vsock { guest_cid: 2, ..bench.vsock() }).await);
    ensure!(why == "seat demo/1: PUT /vsock: the number of a vsock device is 3 to 4294967294", "{why}");
    ensure!(!bench.path("vsock.sock").exists() && fake.with(|process| process.exit).is_none());
    Ok(())
}
