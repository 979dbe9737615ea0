//! Nothing of a bench is left on the engine, however it ends.
//!
//! One thing can be left, and no client of the engine can help it: engines before 28.1 count the endpoints of a
//! network apart from the endpoints, and the count can end too high when seats come and go side by side
//! (moby issue 42119). Such a network is empty, "has active endpoints" all the same, and goes only after the engine
//! was restarted. Every turn has a workshop of its own, so that a stuck network disturbs no other; it is told at the
//! end, and the next run sweeps it away if it can.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};

/// How the workshops of all benches begin.
const PREFIX: &str = "xbench-";
const WORKSHOP: &str = "clarateach.workshop";
/// What the engine says of a network that it does not let go.
const STUCK: &str = "active endpoints";
/// How long the engine may go on with calls that were given up.
const SETTLED: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);

/// A workshop that nobody has had before.
pub(super) fn workshop() -> String {
    static RUN: OnceLock<i64> = OnceLock::new();
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let run = RUN.get_or_init(|| jiff::Timestamp::now().as_second() % 0x1_0000);
    format!("{PREFIX}{run:04x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Judges the end of a workshop: nothing may be left of it. Returns whether its network is stuck; then an error of
/// whoever destroyed it is none.
pub(super) async fn judge(docker: &Docker, workshop: &str, destroyed: Result<()>) -> Result<bool> {
    let left = Things::of(docker, |owner| owner == workshop).await?;
    if left.is_stuck_network(docker).await? {
        return Ok(true);
    }
    destroyed?;
    let names = left.names();
    ensure!(names.is_empty(), "left behind: {}", names.join(", "));
    Ok(false)
}

/// Removes everything of every bench, until two looks in a row find nothing: an interrupted call may still come to
/// its end. Returns the networks that are stuck.
pub(super) async fn sweep(docker: &Docker) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut clean = 0;
    loop {
        let things = Things::of(docker, |owner| owner.starts_with(PREFIX)).await?;
        let trouble = things.remove(docker).await;
        let left = Things::of(docker, |owner| owner.starts_with(PREFIX)).await?;
        let alone = left.containers.is_empty() && left.volumes.is_empty();
        let stuck = alone && trouble.iter().all(|why| why.contains(STUCK));
        clean = if stuck { clean + 1 } else { 0 };
        if clean == 2 {
            return Ok(left.networks.into_iter().map(|(_, name)| name).collect());
        }
        ensure!(began.elapsed() < PATIENCE, "could not be removed: {}", trouble.join("; "));
        tokio::time::sleep(SETTLED).await;
    }
}

/// Ids and names.
struct Things {
    containers: Vec<(String, String)>,
    volumes: Vec<String>,
    networks: Vec<(String, String)>,
}

impl Things {
    async fn of(docker: &Docker, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let wanted = |labels: Option<&HashMap<String, String>>| {
            labels.and_then(|labels| labels.get(WORKSHOP)).is_some_and(|owner| wanted(owner))
        };
        let filter = HashMap::from([("label", vec![WORKSHOP])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let containers = docker.list_containers(Some(options)).await?.into_iter();
        let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
        let volumes = docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default().into_iter();
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let networks = docker.list_networks(Some(options)).await?.into_iter();
        Ok(Self {
            containers: containers
                .filter(|one| wanted(one.labels.as_ref()))
                .filter_map(|one| Some((one.id?, one.names?.concat())))
                .collect(),
            volumes: volumes.filter(|one| wanted(Some(&one.labels))).map(|one| one.name).collect(),
            networks: networks
                .filter(|one| wanted(one.labels.as_ref()))
                .filter_map(|one| Some((one.id?, one.name?)))
                .collect(),
        })
    }

    /// Whether it all comes down to a network that the engine does not let go.
    async fn is_stuck_network(&self, docker: &Docker) -> Result<bool> {
        let [(id, _)] = self.networks.as_slice() else { return Ok(false) };
        if !self.containers.is_empty() || !self.volumes.is_empty() {
            return Ok(false);
        }
        let network = docker.inspect_network(id, None::<InspectNetworkOptions>).await?;
        let attached = network.containers.is_some_and(|containers| !containers.is_empty());
        let refused = docker.remove_network(id).await.is_err_and(|why| why.to_string().contains(STUCK));
        Ok(refused && !attached)
    }

    fn names(self) -> Vec<String> {
        let second = |(_, name)| name;
        let all = self.containers.into_iter().map(second).chain(self.volumes);
        all.chain(self.networks.into_iter().map(second)).collect()
    }

    /// Says what could not be removed.
    async fn remove(&self, docker: &Docker) -> Vec<String> {
        let mut trouble = Vec::new();
        for (id, _) in &self.containers {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            trouble.extend(docker.remove_container(id, Some(options)).await.err());
        }
        for name in &self.volumes {
            trouble.extend(docker.remove_volume(name, None::<RemoveVolumeOptions>).await.err());
        }
        for (id, _) in &self.networks {
            trouble.extend(docker.remove_network(id).await.err());
        }
        trouble.into_iter().map(|error| error.to_string()).collect()
    }
}
