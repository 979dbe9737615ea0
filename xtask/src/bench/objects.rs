//! The engine objects of a seat, as the service makes them, built by hand. [`super::same`] proves on the running
//! engine that they are the same; without that proof the floor would be the floor of something else.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Ipam, IpamConfig, Mount, MountType,
    MountVolumeOptions, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum, VolumeCreateRequest,
};

/// Small, so that a hundred seats fit; the same for every way.
pub(super) const MEMORY_MIB: u32 = 128;
pub(super) const CPUS: u32 = 1;
pub(super) const PIDS: u32 = 64;
/// What the seats get as their key. Nothing is protected by it.
pub(super) const API_KEY: &str = "bench-key";
/// Where the service of this bench takes its subnets from.
pub(super) const SERVICE_POOL: &str = "10.215.0.0/16";
/// The ports of a workspace.
pub(super) const PORTS: [u16; 2] = [3001, 3002];

const MIB: i64 = 1024 * 1024;

type Labels = HashMap<String, String>;

pub(super) fn network_name(workshop: &str) -> String {
    format!("clarateach-{workshop}")
}

pub(super) fn container_name(workshop: &str, seat: u16) -> String {
    format!("clarateach-{workshop}-{seat}")
}

pub(super) fn volume_name(workshop: &str, seat: u16) -> String {
    format!("clarateach-{workshop}-{seat}-data")
}

/// The labels of an object by its type (design: workshop-network, learner-workspace, workspace-data).
pub(super) fn labels(kind: &str, workshop: &str, seat: Option<u16>) -> Labels {
    let mut labels = Labels::from([
        ("clarateach.type".to_owned(), kind.to_owned()),
        ("clarateach.workshop".to_owned(), workshop.to_owned()),
    ]);
    labels.extend(seat.map(|seat| ("clarateach.seat".to_owned(), seat.to_string())));
    labels
}

/// The environment of a seat.
pub(super) fn environment(seat: u16) -> Vec<String> {
    vec![
        "WORKSPACE_DIR=/workspace".to_owned(),
        "TERM=xterm-256color".to_owned(),
        "TERMINAL_PORT=3001".to_owned(),
        "FILES_PORT=3002".to_owned(),
        "AUTH_DISABLED=false".to_owned(),
        format!("SEAT={seat}"),
        format!("CONTAINER_ID=c-{seat:02}"),
        format!("ANTHROPIC_API_KEY={API_KEY}"),
    ]
}

/// The body of `POST /networks/create`. The number says which subnet it is; they have the size that the service
/// gives to a hundred seats, outside its pool.
pub(super) fn network(workshop: &str, number: u16) -> NetworkCreateRequest {
    let subnet = format!("10.216.{}.{}/25", number / 2 % 256, number % 2 * 128);
    let subnet = IpamConfig { subnet: Some(subnet), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: network_name(workshop),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam { config: Some(vec![subnet]), ..Ipam::default() }),
        options: Some(HashMap::from([
            ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned()),
            ("com.docker.network.bridge.name".to_owned(), format!("ct-xbench-{number}")),
        ])),
        labels: Some(of_attempt(labels("workshop-network", workshop, None))),
        ..NetworkCreateRequest::default()
    }
}

/// The body of `POST /volumes/create`.
pub(super) fn volume(workshop: &str, seat: u16) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(volume_name(workshop, seat)),
        labels: Some(of_attempt(labels("workspace-data", workshop, Some(seat)))),
        ..VolumeCreateRequest::default()
    }
}

/// The body of `POST /containers/create`.
pub(super) fn container(workshop: &str, seat: u16, image: &str, network_id: &str) -> ContainerCreateBody {
    let mut labels = of_attempt(labels("learner-workspace", workshop, Some(seat)));
    labels.insert("clarateach.image".to_owned(), image.to_owned());
    labels.insert("clarateach.ports".to_owned(), "3001,3002".to_owned());
    labels.insert("clarateach.env".to_owned(), String::new());
    let limits = format!("cpu_millis={},memory_mib={MEMORY_MIB},pids={PIDS}", CPUS * 1000);
    labels.insert("clarateach.limits".to_owned(), limits);
    ContainerCreateBody {
        hostname: Some(format!("seat-{seat}")),
        image: Some(image.to_owned()),
        env: Some(environment(seat)),
        labels: Some(labels),
        exposed_ports: Some(PORTS.iter().map(|port| format!("{port}/tcp")).collect()),
        host_config: Some(host_config(volume(workshop, seat), network_id)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(volume: VolumeCreateRequest, network_id: &str) -> HostConfig {
    let data = Mount {
        typ: Some(MountType::VOLUME),
        source: volume.name,
        target: Some("/workspace".to_owned()),
        volume_options: Some(MountVolumeOptions { labels: volume.labels, ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    let restart =
        RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None };
    let bounded =
        [("max-size", "10m"), ("max-file", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let log = HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(bounded.into()) };
    let kept = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"].map(str::to_owned);
    HostConfig {
        mounts: Some(vec![data]),
        network_mode: Some(network_id.to_owned()),
        restart_policy: Some(restart),
        log_config: Some(log),
        memory: Some(i64::from(MEMORY_MIB) * MIB),
        memory_swap: Some(i64::from(MEMORY_MIB) * MIB),
        nano_cpus: Some(i64::from(CPUS) * 1_000_000_000),
        pids_limit: Some(i64::from(PIDS)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(kept.to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..HostConfig::default()
    }
}

/// The service marks each object with the attempt that made it.
fn of_attempt(mut labels: Labels) -> Labels {
    labels.insert("clarateach.create-id".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    labels
}
