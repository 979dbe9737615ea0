//! Nothing of a bench is left on the engine, however it ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};

/// The workshop that the scripts' way makes.
pub(super) const SCRIPTS: &str = "xbench-scripts";
/// The workshop that plain calls make.
pub(super) const FLOOR: &str = "xbench-floor";
/// The workshop that the service makes.
pub(super) const SERVICE: &str = "xbench-service";

/// How long the engine may go on with calls that were given up.
const SETTLED: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);

/// The names of what is there of the bench's workshops.
pub(super) async fn remains(docker: &Docker) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for workshop in [SCRIPTS, FLOOR, SERVICE] {
        let things = Things::of(docker, workshop).await?;
        found.extend(things.containers.into_iter().map(|name| format!("container {name}")));
        found.extend(things.volumes.into_iter().map(|name| format!("volume {name}")));
        found.extend(things.networks.into_iter().map(|name| format!("network {name}")));
    }
    Ok(found)
}

/// Removes it all, until two looks in a row find nothing: an interrupted call may still come to its end.
pub(super) async fn sweep(docker: &Docker) -> Result<()> {
    let began = Instant::now();
    let mut clean = 0;
    while clean < 2 {
        let mut left = Vec::new();
        for workshop in [SCRIPTS, FLOOR, SERVICE] {
            left.extend(Things::of(docker, workshop).await?.remove(docker).await);
        }
        ensure!(began.elapsed() < PATIENCE, "could not be removed: {}", left.join("; "));
        clean = if left.is_empty() && remains(docker).await?.is_empty() { clean + 1 } else { 0 };
        tokio::time::sleep(SETTLED).await;
    }
    Ok(())
}

struct Things {
    containers: Vec<String>,
    volumes: Vec<String>,
    networks: Vec<String>,
}

impl Things {
    async fn of(docker: &Docker, workshop: &str) -> Result<Self> {
        let filter = HashMap::from([("label", vec![format!("clarateach.workshop={workshop}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let containers = docker.list_containers(Some(options)).await?;
        let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
        let volumes = docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default();
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let networks = docker.list_networks(Some(options)).await?;
        Ok(Self {
            containers: containers.into_iter().filter_map(|one| one.id).collect(),
            volumes: volumes.into_iter().map(|one| one.name).collect(),
            networks: networks.into_iter().filter_map(|one| one.id).collect(),
        })
    }

    /// Says what could not be removed.
    async fn remove(self, docker: &Docker) -> Vec<String> {
        let mut trouble = Vec::new();
        for id in &self.containers {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            trouble.extend(docker.remove_container(id, Some(options)).await.err());
        }
        for name in &self.volumes {
            trouble.extend(docker.remove_volume(name, None::<RemoveVolumeOptions>).await.err());
        }
        for id in &self.networks {
            trouble.extend(docker.remove_network(id).await.err());
        }
        trouble.into_iter().map(|error| error.to_string()).collect()
    }
}
