//! What a seat's container is made of: the one place where a [`SeatSpec`] becomes engine parameters, and where
//! an api key is handed to a seat.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, PortBinding,
    PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use seats::workspace::{self, FOLDER};
use seats::{Limits, SeatSpec};

use crate::DockerConfig;
use crate::names::{self, Labels};

const MIB: i64 = 1024 * 1024;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// What making a container needs beyond the spec.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) create_id: &'a str,
    pub(crate) network_id: &'a str,
    pub(crate) ports: &'a [u16],
}

/// The body of `POST /containers/create`.
pub(crate) fn container(
    config: &DockerConfig,
    spec: &SeatSpec,
    attempt: &Attempt<'_>,
) -> ContainerCreateBody {
    let mut labels = names::seat_labels(names::TYPE_CONTAINER, &spec.seat);
    labels.extend(own_labels(spec, attempt));
    ContainerCreateBody {
        hostname: Some(format!("seat-{}", spec.seat.seat)),
        image: Some(spec.image.to_string()),
        cmd: config.command.clone(),
        env: Some(environment(config, spec)),
        labels: Some(labels),
        exposed_ports: Some(attempt.ports.iter().map(|port| port_key(*port)).collect()),
        host_config: Some(host_config(config, spec, attempt)),
        ..ContainerCreateBody::default()
    }
}

fn own_labels(spec: &SeatSpec, attempt: &Attempt<'_>) -> Labels {
    HashMap::from([
        (names::CREATE_ID.to_owned(), attempt.create_id.to_owned()),
        (names::IMAGE.to_owned(), spec.image.to_string()),
        (names::PORTS.to_owned(), join(attempt.ports)),
        (names::ENV.to_owned(), env_names(spec)),
        (names::LIMITS.to_owned(), limits_text(spec.limits)),
    ])
}

fn host_config(config: &DockerConfig, spec: &SeatSpec, attempt: &Attempt<'_>) -> HostConfig {
    // The engine makes a volume that is not there (any more) by itself: then it shall be ours as well.
    let data = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(names::volume(&spec.seat)),
        target: Some(FOLDER.to_owned()),
        volume_options: Some(MountVolumeOptions {
            labels: Some(names::made_labels(names::TYPE_VOLUME, &spec.seat, attempt.create_id)),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    };
    let restart =
        RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None };
    let log = HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), format!("{}m", config.log_max_size_mib)),
            ("max-file".to_owned(), config.log_max_files.to_string()),
        ])),
    };
    let memory = i64::from(spec.limits.memory_mib) * MIB;
    HostConfig {
        mounts: Some(vec![data]),
        network_mode: Some(attempt.network_id.to_owned()),
        port_bindings: config.publish.map(|address| bindings(address, attempt.ports)),
        restart_policy: Some(restart),
        log_config: Some(log),
        memory: Some(memory),
        // Equal to memory: no swap, so that a seat over its limit ends instead of slowing the host down.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(spec.limits.cpu_millis) * NANOS_PER_MILLI),
        pids_limit: Some(i64::from(spec.limits.pids)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(config.capabilities.clone()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..HostConfig::default()
    }
}

/// Every variable of the seat, in `NAME=value` form.
fn environment(config: &DockerConfig, spec: &SeatSpec) -> Vec<String> {
    let defaults =
        workspace::Defaults { auth_disabled: config.auth_disabled, jwks_url: config.jwks_url.as_deref() };
    let variables = workspace::environment(defaults, spec).into_iter();
    variables.map(|variable| format!("{}={}", variable.name, variable.value)).collect()
}

/// The limits as their label has them. What the engine shows of a container is no record of what was asked for: an
/// engine without a cgroup controller discards the limit.
pub(crate) fn limits_text(limits: Limits) -> String {
    let Limits { cpu_millis, memory_mib, pids } = limits;
    format!("cpu_millis={cpu_millis},memory_mib={memory_mib},pids={pids}")
}

fn bindings(address: IpAddr, ports: &[u16]) -> PortMap {
    let binding = PortBinding { host_ip: Some(address.to_string()), host_port: Some(String::new()) };
    ports.iter().map(|port| (port_key(*port), Some(vec![binding.clone()]))).collect()
}

fn port_key(port: u16) -> String {
    format!("{port}/tcp")
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// The names of the caller's variables, in order.
pub(crate) fn env_names(spec: &SeatSpec) -> String {
    spec.env.iter().map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

/// The spec that this crate's unit tests start from.
#[cfg(test)]
pub(crate) fn example() -> SeatSpec {
    use seats::{ApiKey, EnvVars, SeatBound, SeatRef};
    let mut env = EnvVars::default();
    env.insert("LESSON", "one".into()).unwrap();
    SeatSpec {
        seat: SeatRef::new("rust-101".parse().unwrap(), SeatBound::default().seat(7).unwrap()),
        image: "clarateach-workspace".parse().unwrap(),
        env,
        limits: Limits { cpu_millis: 1500, memory_mib: 512, pids: 99 },
        api_key: Some(ApiKey::new("sk-canary-1\n$HOME".into()).unwrap()),
    }
}

#[cfg(test)]
mod tests {
    use super::example as spec;
    use super::*;

    const ATTEMPT: Attempt<'static> = Attempt { create_id: "c1", network_id: "n1", ports: &[3001, 3002] };

    #[test]
    fn the_environment_is_that_of_the_scripts() {
        let config = DockerConfig { jwks_url: Some("http://x/jwks".into()), ..DockerConfig::default() };
        let body = container(&config, &spec(), &ATTEMPT);
        assert_eq!(
            body.env.unwrap(),
            [
                "WORKSPACE_DIR=/workspace",
                "TERM=xterm-256color",
                "TERMINAL_PORT=3001",
                "FILES_PORT=3002",
                "AUTH_DISABLED=false",
                "SEAT=7",
                "CONTAINER_ID=c-07",
                "JWKS_URL=http://x/jwks",
                "LESSON=one",
                "ANTHROPIC_API_KEY=sk-canary-1\n$HOME",
            ]
        );
        assert_eq!(body.hostname.as_deref(), Some("seat-7"));
        assert_eq!(body.cmd, None, "the image runs as it is");
    }

    #[test]
    fn no_label_holds_a_value_of_the_environment() {
        let labels = container(&DockerConfig::default(), &spec(), &ATTEMPT).labels.unwrap();
        assert_eq!(labels[names::ENV], "LESSON");
        assert!(!labels.values().any(|value| value.contains("sk-canary-1") || value == "one"), "{labels:?}");
    }

    #[test]
    fn limits_and_hardening_are_on() {
        let host = container(&DockerConfig::default(), &spec(), &ATTEMPT).host_config.unwrap();
        assert_eq!((host.nano_cpus, host.memory), (Some(1_500_000_000), Some(512 * MIB)));
        assert_eq!((host.memory_swap, host.pids_limit), (host.memory, Some(99)));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(host.port_bindings, None);
    }

    #[test]
    fn published_ports_go_to_the_address_asked_for() {
        let config = DockerConfig { publish: Some([127, 0, 0, 1].into()), ..DockerConfig::default() };
        let host = container(&config, &spec(), &ATTEMPT).host_config.unwrap();
        let bindings = host.port_bindings.unwrap();
        assert_eq!(bindings["3001/tcp"].as_ref().unwrap()[0].host_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(bindings.len(), 2);
    }
}
