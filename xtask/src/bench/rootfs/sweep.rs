//! Nothing of a bench is left: no container, no loop device, no file.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

/// What the containers carry that are made to be exported.
pub(super) const LABEL: &str = "clarateach.bench=rootfs";
/// How long the engine may go on with calls that were given up.
const SETTLED: Duration = Duration::from_millis(500);
/// How long processes that were killed may take to let a mount go.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Removes the containers of all benches until two looks in a row find none, then the folder.
pub(super) async fn sweep(docker: &Docker, folder: &Path) -> Result<()> {
    let containers = containers(docker).await;
    loops(folder).await?;
    remove(folder)?;
    containers
}

async fn containers(docker: &Docker) -> Result<()> {
    let filter = HashMap::from([("label", vec![LABEL])]);
    let began = Instant::now();
    let mut clean = false;
    loop {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let found = docker.list_containers(Some(options)).await?;
        if found.is_empty() && clean {
            return Ok(());
        }
        clean = found.is_empty();
        ensure!(began.elapsed() < PATIENCE, "{} containers with the label {LABEL} stay", found.len());
        for id in found.into_iter().filter_map(|container| container.id) {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            // It may be on its way out already; the next look tells.
            drop(docker.remove_container(&id, Some(options)).await);
        }
        tokio::time::sleep(SETTLED).await;
    }
}

/// Waits until no loop device holds a file of the folder: each goes with its mount, and that with its last process.
async fn loops(folder: &Path) -> Result<()> {
    let began = Instant::now();
    loop {
        let held = held(folder);
        if held.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "still mounted from {}: {}", folder.display(), held.join(", "));
        tokio::time::sleep(POLL).await;
    }
}

/// The loop devices whose file is in the folder.
fn held(folder: &Path) -> Vec<String> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Vec::new() };
    devices
        .filter_map(|device| {
            let device = device.ok()?.path();
            let file = fs::read_to_string(device.join("loop/backing_file")).ok()?;
            Path::new(&file).starts_with(folder).then(|| device.to_string_lossy().into_owned())
        })
        .collect()
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            Err(why).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
