//! What an operator should know of a host before class day.

use bollard::Docker;
use bollard::models::SystemInfo;
use seats::{Finding, ImageRef, ProviderError};

use crate::engine::Whom;
use crate::provider::DockerProvider;
use crate::{GuardMode, guard, names};

/// The oldest engine API that is served: Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

/// Less room than this for images, logs and data is trouble within a class.
const LITTLE_DISK: u64 = 5 * 1024 * 1024 * 1024;

impl DockerProvider {
    /// Looks at everything that seats need from this host. Changes nothing but the packet filter's own table,
    /// which making a seat would put there too.
    pub async fn inspect_host(&self, image: &ImageRef) -> Vec<Finding> {
        let docker = match self.engine.client().await {
            Ok(docker) => docker,
            Err(error) => {
                let remedy = format!(
                    "start it (systemctl start docker), let this user use {}, or set docker.host",
                    self.config.host.socket().display()
                );
                return vec![Finding::error("engine", error.to_string(), remedy)];
            }
        };
        let mut findings = Vec::new();
        findings.push(self.engine_version(&docker).await);
        findings.push(self.image_present(&docker, image).await);
        findings.push(self.pool_free(&docker).await);
        if let Ok(info) = docker.info().await {
            findings.push(disk(&info));
            findings.push(limits(&info));
        }
        findings.push(self.metadata_guard().await);
        findings.push(self.reach());
        findings.push(self.left_over(&docker).await);
        findings
    }

    async fn engine_version(&self, docker: &Docker) -> Finding {
        let version = match docker.version().await {
            Ok(version) => version,
            Err(error) => return Finding::error("engine", error.to_string(), "see the engine's log"),
        };
        let engine = version.version.unwrap_or_default();
        let api = version.api_version.unwrap_or_default();
        let parsed =
            api.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let detail = format!("Docker Engine {engine}, API {api}");
        match parsed {
            Some(version) if version >= OLDEST_API => Finding::ok("engine", detail),
            _ => Finding::error("engine", detail, "install Docker 20.10 or newer (API 1.41)"),
        }
    }

    async fn image_present(&self, docker: &Docker, image: &ImageRef) -> Finding {
        match self.images.inspect(&self.engine, docker, image, &Whom::Host).await {
            Ok(Some(facts)) => {
                let ports: Vec<String> = facts.ports.iter().map(u16::to_string).collect();
                Finding::ok("image", format!("{image} is on this host, ports {}", ports.join(", ")))
            }
            Ok(None) => Finding::warning(
                "image",
                format!("{image} is not on this host; the first seat pulls it"),
                format!("docker pull {image}, or build it, before the class comes"),
            ),
            Err(error) => Finding::error("image", error.to_string(), error.remedy()),
        }
    }

    async fn pool_free(&self, docker: &Docker) -> Finding {
        match self.networks.free(&self.engine, docker).await {
            Ok(0) => Finding::error(
                "addresses",
                format!("in use: {}", self.networks.pool()),
                "destroy a workshop, or set a larger docker.pool",
            ),
            Ok(free) => Finding::ok(
                "addresses",
                format!("room for {free} more workshops in {}", self.networks.pool().range()),
            ),
            Err(error) => Finding::error("addresses", error.to_string(), error.remedy()),
        }
    }

    async fn metadata_guard(&self) -> Finding {
        if self.guard.mode() == GuardMode::Off {
            return Finding::ok("metadata", "the guard is off: seats can reach the cloud's metadata address");
        }
        match self.guard.ensure().await {
            Ok(()) => Finding::ok("metadata", "seats cannot reach the cloud's metadata address"),
            Err(why) => {
                let remedy = "install nftables and run the service as root (or with CAP_NET_ADMIN) in the host's \
                              network; on a host that is no cloud machine, set docker.metadata_guard = \"off\"";
                let detail = format!("seats may reach the cloud's metadata address: {why}");
                match self.guard.mode() {
                    GuardMode::Required => Finding::error("metadata", detail, remedy),
                    GuardMode::Auto | GuardMode::Off => Finding::warning("metadata", detail, remedy),
                }
            }
        }
    }

    fn reach(&self) -> Finding {
        if let Some(address) = self.config.publish {
            let detail = format!("seats are reached through ports published on {address}");
            if address.is_loopback() {
                return Finding::ok("reach", detail);
            }
            let detail = format!("{detail}, where the seats reach each other's too");
            return Finding::warning(
                "reach",
                detail,
                "publish on 127.0.0.1, or filter that address on this host",
            );
        }
        if cfg!(not(target_os = "linux")) {
            return Finding::error(
                "reach",
                "container addresses cannot be reached from this host",
                "set docker.publish = \"127.0.0.1\"",
            );
        }
        if !guard::is_beside_the_engine() {
            return Finding::warning(
                "reach",
                "the service runs in a container with a network of its own, which cannot reach seats",
                "run it with --network host, or set docker.publish to an address that it reaches",
            );
        }
        Finding::ok("reach", "seats are reached at their own addresses")
    }

    /// What is left of workshops that have no seat: kept data, or the remains of something interrupted.
    async fn left_over(&self, docker: &Docker) -> Finding {
        match self.without_seats(docker).await {
            Ok((0, 0)) => Finding::ok("remains", "every network and volume belongs to a seat"),
            Ok((networks, volumes)) => Finding::ok(
                "remains",
                format!("{networks} networks without a seat, {volumes} volumes without a seat (kept data)"),
            ),
            Err(error) => Finding::warning("remains", error.to_string(), error.remedy()),
        }
    }

    async fn without_seats(&self, docker: &Docker) -> Result<(usize, usize), ProviderError> {
        use bollard::query_parameters::{ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
        let explain = |error| self.engine.explain(error, seats::Stage::Check, &Whom::Host);
        let seats = self.summaries(docker, None).await?;
        let of_type = |kind: &str| names::filter(&names::Labels::from([(names::TYPE.into(), kind.into())]));
        let options = ListNetworksOptionsBuilder::default().filters(&of_type(names::TYPE_NETWORK)).build();
        let networks = docker.list_networks(Some(options)).await.map_err(explain)?;
        let options = ListVolumesOptionsBuilder::default().filters(&of_type(names::TYPE_VOLUME)).build();
        let volumes = docker.list_volumes(Some(options)).await.map_err(explain)?.volumes.unwrap_or_default();
        let lonely = |network: &bollard::models::Network| {
            let workshop = network.labels.as_ref().and_then(|labels| labels.get(names::WORKSHOP));
            !seats.iter().any(|view| Some(view.seat.workshop.as_str()) == workshop.map(String::as_str))
        };
        let kept = |volume: &bollard::models::Volume| {
            names::owner(&volume.labels).is_none_or(|owner| !seats.iter().any(|view| view.seat == owner))
        };
        let networks = networks.iter().filter(|network| lonely(network)).count();
        Ok((networks, volumes.iter().filter(|volume| kept(volume)).count()))
    }
}

/// The room on the file system of the engine's data, where that is on this host.
fn disk(info: &SystemInfo) -> Finding {
    let root = info.docker_root_dir.as_deref().unwrap_or("/var/lib/docker");
    let Ok(stat) = rustix::fs::statvfs(root) else {
        return Finding::ok("disk", format!("{root} is not on this host; its room is not known"));
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} GiB free at {root}", free >> 30);
    if free < LITTLE_DISK {
        return Finding::warning("disk", detail, "remove unused images (docker image prune) or add disk");
    }
    Finding::ok("disk", detail)
}

/// Limits that the engine's kernel does not enforce are ignored by it with a warning only.
fn limits(info: &SystemInfo) -> Finding {
    let kinds = [("memory", info.memory_limit), ("swap", info.swap_limit), ("pids", info.pids_limit)];
    if info.cpu_cfs_quota == Some(false) {
        return Finding::error(
            "limits",
            "the engine cannot limit cpus, and refuses seats that ask for it",
            "enable the kernel's CFS bandwidth control (CONFIG_CFS_BANDWIDTH)",
        );
    }
    let missing: Vec<&str> =
        kinds.iter().filter(|(_, on)| *on == Some(false)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Finding::ok("limits", "memory, swap, cpus and pids of a seat are enforced");
    }
    Finding::warning(
        "limits",
        format!("the engine cannot enforce: {}", missing.join(", ")),
        "enable those cgroup controllers (cgroup_enable=memory swapaccount=1 on the kernel command line)",
    )
}
