//! Snapshots that cannot be loaded: the process ends, and says why before.

use std::path::Path;

use anyhow::{Result, ensure};
use provider_microvm::vmm::InterfaceName;
use provider_microvm::vmm::firecracker::{
    DeviceId, Machine, MemoryBackend, NetworkOverride, SnapshotFiles, SnapshotLoad, SnapshotType,
};
use rstest::rstest;

use super::said;
use crate::bench::{Bench, PATIENCE};
use crate::fake::Options;

/// Saves a machine with a drive, an interface and a vsock device, and ends it.
async fn saved(bench: &Bench) -> Result<SnapshotLoad> {
    let fake = bench.fake(Options::default())?;
    let configured = bench.configured().await?;
    configured.add_drive(&bench.drive("data", false)?).await?;
    configured.add_network_interface(&Bench::nic("eth0", "ctt0", 1)?).await?;
    configured.set_vsock(&bench.vsock()).await?;
    let paused = configured.start().await?.pause().await?;
    let files = SnapshotFiles {
        snapshot_path: bench.path("state"),
        mem_file_path: bench.path("memory"),
        snapshot_type: SnapshotType::Full,
    };
    paused.create_snapshot(&files).await?;
    drop(fake);
    std::fs::remove_file(bench.path("api.sock"))?;
    let iface_id = DeviceId::new("eth0")?;
    Ok(SnapshotLoad {
        snapshot_path: files.snapshot_path,
        mem_backend: MemoryBackend::File(files.mem_file_path),
        track_dirty_pages: false,
        network_overrides: vec![NetworkOverride { iface_id, host_dev_name: InterfaceName::new("ctt1")? }],
        vsock_override: Some(bench.path("restored.sock")),
        clock_realtime: true,
    })
}

type Spoil = fn(&Path, &mut SnapshotLoad) -> Result<()>;

fn no_state(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    Ok(std::fs::remove_file(at.join("state"))?)
}

fn half_a_state(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    cut(&at.join("state"))
}

fn another_version(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    let text = std::fs::read_to_string(at.join("state"))?;
    Ok(std::fs::write(at.join("state"), text.replace("10.0.0", "9.0.0"))?)
}

fn no_memory(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    Ok(std::fs::remove_file(at.join("memory"))?)
}

fn half_a_memory(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    cut(&at.join("memory"))
}

fn no_image(at: &Path, _: &mut SnapshotLoad) -> Result<()> {
    Ok(std::fs::remove_file(at.join("data.img"))?)
}

fn no_such_interface(_: &Path, load: &mut SnapshotLoad) -> Result<()> {
    load.network_overrides[0].iface_id = DeviceId::new("eth7")?;
    Ok(())
}

fn no_such_tap(_: &Path, load: &mut SnapshotLoad) -> Result<()> {
    load.network_overrides[0].host_dev_name = InterfaceName::new("ctt7")?;
    Ok(())
}

fn a_vsock_path_in_use(at: &Path, load: &mut SnapshotLoad) -> Result<()> {
    load.vsock_override = Some(at.join("data.img"));
    Ok(())
}

#[rstest]
#[case(no_state, "Failed to open snapshot file: No such file or directory (os error 2)")]
#[case(half_a_state, "Failed to load snapshot state from file")]
#[case(another_version, "Invalid data version: 9.0.0")]
#[case(no_memory, "Failed to load guest memory: No such file or directory (os error 2)")]
#[case(half_a_memory, "Failed to restore guest memory")]
#[case(no_image, "Error manipulating the backing file")]
#[case(no_such_interface, "Unknown Network Device.")]
#[case(no_such_tap, "provided by ctt7")]
#[case(a_vsock_path_in_use, "Address already in use (os error 98)")]
#[tokio::test]
async fn a_load_that_fails_ends_the_process(#[case] spoil: Spoil, #[case] fault: &str) -> Result<()> {
    let bench = Bench::new()?;
    let mut load = saved(&bench).await?;
    spoil(&bench.path(""), &mut load)?;
    let mut fake = bench.fake(Options::default())?;
    let why = said(Machine::fresh(bench.api()).await?.load(&load).await);
    let expected = "seat demo/1: PUT /snapshot/load: Firecracker refuses: Load snapshot error: Failed to restore from snapshot: ";
    ensure!(why.starts_with(expected) && why.contains(fault), "{why}");
    ensure!(tokio::time::timeout(PATIENCE, fake.exited()).await? == Some(1));
    Ok(())
}

#[tokio::test]
async fn what_is_given_other_than_it_was_is_used() -> Result<()> {
    let bench = Bench::new()?;
    let load = saved(&bench).await?;
    let fake = bench.fake(Options::default())?;
    Machine::fresh(bench.api()).await?.load_and_resume(&load).await?;
    let (taps, images) = fake.with(|process| (process.nics.clone(), process.drives.clone()));
    ensure!(taps["eth0"].0 == "ctt1" && images["data"] == bench.path("data.img"));
    ensure!(bench.path("restored.sock").exists());
    Ok(())
}

fn cut(path: &Path) -> Result<()> {
    let file = std::fs::File::options().write(true).open(path)?;
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}
