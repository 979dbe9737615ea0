//! What every bench stands on: it is alone, and knows the engine.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::process;

/// Seconds that one call to the engine may take.
const CALL: u64 = 120;

/// Makes sure that no other bench runs; holds as long as what it returns.
pub(super) fn alone(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("lock"))?;
    if lock.try_lock().is_err() {
        bail!("another bench runs: they would measure each other");
    }
    Ok(lock)
}

/// The engine that the docker command line talks to as well, and its processes.
pub(super) async fn engine() -> Result<(Docker, Vec<i32>)> {
    let given = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = given.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let docker = Docker::connect_with_unix(socket, CALL, API_DEFAULT_VERSION)?.negotiate_version().await;
    let docker = docker.context("no Docker engine answers; scripts/ensure-docker.sh starts one")?;
    Ok((docker, process::engine(Path::new(socket)).await?))
}
