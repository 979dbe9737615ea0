//! The conformance suite on a real engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions, StopContainerOptionsBuilder,
};
use conformance::{Harness, Inventory, Stop, TestImage};
use docker_testbed::{Host, IMAGE};
use futures_util::StreamExt;
use seats::{ImageRef, Limits, ObjectKind, Provider, SeatRef, WorkshopId};

struct OnDocker {
    host: Host,
}

async fn make() -> Result<OnDocker, Stop> {
    // No engine is no reason to pass: whoever asks for this tier has one.
    Ok(OnDocker { host: Host::of_this_machine().await.map_err(fail)? })
}

conformance::suite!(
    #[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
    make
);

/// The names of section "compatibility" of the design, written out a second time on purpose.
fn name(kind: ObjectKind, seat: &SeatRef) -> String {
    match kind {
        ObjectKind::Instance => format!("clarateach-{}-{}", seat.workshop, seat.seat),
        ObjectKind::Network => format!("clarateach-{}", seat.workshop),
        ObjectKind::Volume => format!("clarateach-{}-{}-data", seat.workshop, seat.seat),
    }
}

fn fail(error: impl std::fmt::Display) -> Stop {
    Stop::fail(format!("{error:#}"))
}

const MARKER: &str = "/workspace/marker";

impl OnDocker {
    async fn inspect(&self, seat: &SeatRef) -> Result<bollard::models::ContainerInspectResponse, Stop> {
        let name = name(ObjectKind::Instance, seat);
        self.host.docker.inspect_container(&name, None::<InspectContainerOptions>).await.map_err(fail)
    }
}

#[async_trait]
impl Harness for OnDocker {
    fn provider(&self) -> Arc<dyn Provider> {
        common::provider(common::config(&self.host))
    }

    async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop> {
        let remains = self.host.remains(workshop).await.map_err(fail)?;
        Ok(Inventory {
            instances: remains.containers,
            networks: remains.networks,
            volumes: remains.volumes,
            ..Inventory::default()
        })
    }

    fn image(&self, kind: TestImage) -> Result<ImageRef, Stop> {
        let tag = match kind {
            TestImage::Good => "latest",
            TestImage::Other => "healthcheck",
            TestImage::Slow => "slow",
            TestImage::ExitsAtOnce => "exits",
            TestImage::Mute => "mute",
            TestImage::Stubborn => "stubborn",
            // A registry that refuses at once, on this machine.
            TestImage::Missing => return Ok("localhost:9/missing:1".parse()?),
        };
        Ok(format!("{IMAGE}:{tag}").parse()?)
    }

    async fn write_marker(&self, seat: &SeatRef, content: &str) -> Result<(), Stop> {
        let script = format!("printf %s '{content}' > {MARKER}");
        let name = name(ObjectKind::Instance, seat);
        self.host.exec(&name, &["sh", "-c", &script]).await.map(|_| ()).map_err(fail)
    }

    async fn read_marker(&self, seat: &SeatRef) -> Result<Option<String>, Stop> {
        let name = name(ObjectKind::Instance, seat);
        let script = format!("if [ -e {MARKER} ]; then echo \"+$(cat {MARKER})\"; else echo -; fi");
        let said = self.host.exec(&name, &["sh", "-c", &script]).await.map_err(fail)?;
        Ok(said.trim_end().strip_prefix('+').map(str::to_owned))
    }

    async fn plant_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        let name = name(kind, seat);
        let labels = HashMap::from([("owner".to_owned(), "somebody".to_owned())]);
        let docker = &self.host.docker;
        match kind {
            ObjectKind::Instance => {
                let options = CreateContainerOptionsBuilder::default().name(&name).build();
                let body = ContainerCreateBody {
                    image: Some(IMAGE.to_owned()),
                    labels: Some(labels),
                    ..ContainerCreateBody::default()
                };
                docker.create_container(Some(options), body).await.map(|_| ()).map_err(fail)
            }
            ObjectKind::Network => {
                let request =
                    NetworkCreateRequest { name, labels: Some(labels), ..NetworkCreateRequest::default() };
                docker.create_network(request).await.map(|_| ()).map_err(fail)
            }
            ObjectKind::Volume => {
                let request = VolumeCreateRequest {
                    name: Some(name),
                    labels: Some(labels),
                    ..VolumeCreateRequest::default()
                };
                docker.create_volume(request).await.map(|_| ()).map_err(fail)
            }
        }
    }

    async fn foreign_is_untouched(&self, kind: ObjectKind, seat: &SeatRef) -> Result<bool, Stop> {
        let name = name(kind, seat);
        let docker = &self.host.docker;
        let labels = match kind {
            ObjectKind::Instance => docker
                .inspect_container(&name, None::<InspectContainerOptions>)
                .await
                .ok()
                .and_then(|found| found.config?.labels),
            ObjectKind::Network => docker
                .inspect_network(&name, None::<InspectNetworkOptions>)
                .await
                .ok()
                .and_then(|found| found.labels),
            ObjectKind::Volume => docker.inspect_volume(&name).await.ok().map(|found| found.labels),
        };
        Ok(labels.is_some_and(|labels| labels.get("owner").is_some_and(|owner| owner == "somebody")))
    }

    async fn remove_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        // By now the name may be the seat's own.
        if !self.foreign_is_untouched(kind, seat).await? {
            return Ok(());
        }
        let name = name(kind, seat);
        let docker = &self.host.docker;
        let removed = match kind {
            ObjectKind::Instance => {
                let options = RemoveContainerOptionsBuilder::default().force(true).build();
                docker.remove_container(&name, Some(options)).await
            }
            ObjectKind::Network => docker.remove_network(&name).await,
            ObjectKind::Volume => docker.remove_volume(&name, None::<RemoveVolumeOptions>).await,
        };
        match removed {
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) | Ok(()) => {
                Ok(())
            }
            Err(error) => Err(fail(error)),
        }
    }

    async fn secrets_surface(&self, seat: &SeatRef) -> Result<String, Stop> {
        // Also of a seat that is gone: then the errors and the events are what is left of it.
        let mut inspected = self.inspect(seat).await;
        if let Ok(Some(config)) = inspected.as_mut().map(|inspected| inspected.config.as_mut()) {
            config.env = None;
        }
        let docker = &self.host.docker;
        let network =
            docker.inspect_network(&name(ObjectKind::Network, seat), None::<InspectNetworkOptions>).await;
        let volume = docker.inspect_volume(&name(ObjectKind::Volume, seat)).await;
        let logs = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let logs: Vec<_> =
            self.host.docker.logs(&name(ObjectKind::Instance, seat), Some(logs)).collect().await;
        let until =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(fail)?.as_secs();
        let events = EventsOptionsBuilder::default()
            .since(&(until - 60).to_string())
            .until(&(until + 1).to_string())
            .build();
        let events: Vec<_> = self.host.docker.events(Some(events)).collect().await;
        let list =
            self.host.docker.list_containers(None::<bollard::query_parameters::ListContainersOptions>).await;
        Ok(format!("{inspected:?} {network:?} {volume:?} {logs:?} {events:?} {list:?}"))
    }

    async fn stop(&self, seat: &SeatRef) -> Result<(), Stop> {
        let options = StopContainerOptionsBuilder::default().t(10).build();
        self.host.docker.stop_container(&name(ObjectKind::Instance, seat), Some(options)).await.map_err(fail)
    }

    async fn environment(&self, seat: &SeatRef) -> Result<BTreeMap<String, String>, Stop> {
        // As the workspace has it, not as the engine was told. The first process is a shell script, which the
        // user of the seat may read.
        let name = name(ObjectKind::Instance, seat);
        let said = self.host.exec(&name, &["cat", "/proc/1/environ"]).await.map_err(fail)?;
        let variables = said.split('\0').filter_map(|variable| variable.split_once('='));
        Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    async fn limits(&self, seat: &SeatRef) -> Result<Limits, Stop> {
        let inspected = self.inspect(seat).await?;
        let host = inspected.host_config.unwrap_or_default();
        let number = |value: Option<i64>| u32::try_from(value.unwrap_or_default()).map_err(fail);
        Ok(Limits {
            cpu_millis: number(host.nano_cpus.map(|nanos| nanos / 1_000_000))?,
            memory_mib: number(host.memory.map(|bytes| bytes / (1024 * 1024)))?,
            pids: number(host.pids_limit)?,
        })
    }

    async fn can_connect(&self, from: &SeatRef, to: SocketAddr) -> Result<bool, Stop> {
        let script =
            format!("nc -w 2 {} {} </dev/null >/dev/null 2>&1 && echo yes || echo no", to.ip(), to.port());
        let name = name(ObjectKind::Instance, from);
        Ok(self.host.exec(&name, &["sh", "-c", &script]).await.map_err(fail)?.trim() == "yes")
    }

    /// Engines like 20.10 take their rule between bridges away whenever any network comes or goes, and the guard that
    /// closes the gap is off here; `docker_service` tests it.
    fn isolation_lapses_for(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn start_timeout(&self) -> Duration {
        common::START_TIMEOUT
    }

    fn small(&self) -> Limits {
        Limits { cpu_millis: 500, memory_mib: 64, pids: 64 }
    }
}
