//! What a container tells of its seat: the pure part of listing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary, HealthStatusEnum, PortSummaryTypeEnum};
use jiff::Timestamp;
use seats::workspace::{self, dying};
use seats::{Instance, ProviderKind, SeatRef, Status};

use crate::DockerConfig;
use crate::names::{self, Labels};
use crate::probe::Target;
use crate::watch::Seen;

/// What the engine says a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Made, never started.
    Created,
    Running,
    Paused,
    /// Died, and will be started again.
    Restarting,
    /// Ended and stays so.
    Exited,
    /// Being removed.
    Removing,
    /// Could not be removed.
    Dead,
}

/// What the image's own health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// One container, as far as its seat is concerned.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: String,
    pub(crate) seat: SeatRef,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) health: Option<Health>,
    /// Of the last end, where the engine told.
    pub(crate) exit_code: Option<i64>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) ports: Vec<u16>,
    pub(crate) published: BTreeMap<u16, SocketAddr>,
    pub(crate) image: String,
    pub(crate) created_at: Option<Timestamp>,
}

impl View {
    /// From one entry of a listing; `None` when its labels do not name a seat.
    pub(crate) fn of_summary(summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels.unwrap_or_default();
        let seat = names::owner(&labels)?;
        let status = summary.status.unwrap_or_default();
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks
            .get(&names::network(&seat.workshop))
            .or_else(|| networks.values().next())
            .and_then(|endpoint| endpoint.ip_address.as_deref());
        let mut listed = summary.ports.unwrap_or_default();
        listed.retain(|port| port.typ.is_none_or(|kind| kind == PortSummaryTypeEnum::TCP));
        let published = listed.iter().filter_map(|port| {
            let ip: IpAddr = port.ip.as_deref()?.parse().ok()?;
            Some((port.private_port, SocketAddr::new(ip, port.public_port?)))
        });
        let exposed: Vec<u16> = listed.iter().map(|port| port.private_port).collect();
        // Docker lists a wildcard binding twice, as 0.0.0.0 and as ::; of two, the first one stands.
        let mut published: Vec<(u16, SocketAddr)> = published.collect();
        published.sort_by_key(|(port, host)| (*port, host.is_ipv6()));
        published.dedup_by_key(|(port, _)| *port);
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        Some(Self {
            id: summary.id?,
            name: name.trim_start_matches('/').to_owned(),
            state: state(summary.state.as_ref().map_or("", AsRef::as_ref)),
            health: health_in_text(&status),
            exit_code: exit_code_in_text(&status),
            ip: address.and_then(|ip| ip.parse().ok()),
            ports: ports(&labels, exposed),
            published: published.into_iter().collect(),
            image: labels.get(names::IMAGE).cloned().or(summary.image).unwrap_or_default(),
            created_at: summary.created.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            seat,
        })
    }

    /// From an inspection.
    pub(crate) fn of_inspection(inspected: &ContainerInspectResponse) -> Option<Self> {
        let config = inspected.config.as_ref()?;
        let labels = config.labels.as_ref()?;
        let seat = names::owner(labels)?;
        let said = inspected.state.as_ref()?;
        let settings = inspected.network_settings.as_ref();
        let networks = settings.and_then(|settings| settings.networks.as_ref());
        let address = networks
            .and_then(|networks| {
                networks.get(&names::network(&seat.workshop)).or_else(|| networks.values().next())
            })
            .and_then(|endpoint| endpoint.ip_address.as_deref());
        let bindings = settings.and_then(|settings| settings.ports.as_ref());
        let published = bindings.into_iter().flatten().filter_map(|(key, hosts)| {
            let host = hosts.as_ref()?.first()?;
            let ip: IpAddr = host.host_ip.as_deref()?.parse().ok()?;
            let port = key.strip_suffix("/tcp")?.parse().ok()?;
            Some((port, SocketAddr::new(ip, host.host_port.as_deref()?.parse().ok()?)))
        });
        let exposed = workspace::exposed_ports(config.exposed_ports.iter().flatten());
        let created: Option<Timestamp> = inspected.created.as_ref().and_then(|text| text.parse().ok());
        Some(Self {
            id: inspected.id.clone()?,
            name: inspected.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
            state: state(said.status.as_ref().map_or("", AsRef::as_ref)),
            health: said.health.as_ref().and_then(|health| health_of_inspection(health.status)),
            exit_code: said.exit_code,
            ip: address.and_then(|ip| ip.parse().ok()),
            ports: ports(labels, exposed),
            published: published.collect(),
            image: labels.get(names::IMAGE).or(config.image.as_ref()).cloned().unwrap_or_default(),
            // A listing tells whole seconds; both tell the same.
            created_at: created.and_then(|at| Timestamp::from_second(at.as_second()).ok()),
            seat,
        })
    }

    /// Where its ports are reached from this service; `None` while it has no address.
    pub(crate) fn target(&self, config: &DockerConfig) -> Option<Target> {
        let published =
            self.ports.iter().map(|port| Some((*port, reached(config, *self.published.get(port)?))));
        match published.collect::<Option<Vec<_>>>() {
            Some(ports) if !ports.is_empty() => Some(Target { ports, proxied: true }),
            _ => self.ip.map(|ip| Target::direct(ip, &self.ports)),
        }
    }

    /// The seat's status and the reason for it, as far as the container, the events and the last probe tell.
    /// `silent` is why the last probe failed, if it did.
    pub(crate) fn status(
        &self,
        seen: &Seen,
        silent: Option<&str>,
        start_timeout: Duration,
    ) -> (Status, Option<String>) {
        let looping = |code: &str| (Status::Error, Some(dying(code, seen.last_words.as_deref())));
        match (self.state, self.health) {
            (State::Created, _) => self.never_started(start_timeout),
            // The engine restarts what ends by itself; what stays ended was stopped, however it took that.
            (State::Exited, _) => match self.exit_code {
                None | Some(0 | 130 | 137 | 143) => (Status::Stopped, None),
                Some(code) => (Status::Stopped, Some(dying(&code.to_string(), seen.last_words.as_deref()))),
            },
            (State::Restarting, _) => {
                let known = seen.looping().map(str::to_owned);
                looping(&known.or(self.exit_code.map(|code| code.to_string())).unwrap_or_default())
            }
            (State::Dead, _) => {
                (Status::Error, Some("the engine could not remove it; destroy the seat again".to_owned()))
            }
            (State::Removing, _) => (Status::Starting, Some("it is being removed".to_owned())),
            (State::Paused, _) => {
                (Status::Stopped, Some("it is paused; unpause it or destroy the seat".to_owned()))
            }
            (State::Running, Some(Health::Healthy)) => (Status::Running, None),
            (State::Running, Some(Health::Unhealthy)) => {
                (Status::Error, Some("its health check fails; see its log, or destroy the seat".to_owned()))
            }
            (State::Running, _) if silent.is_none() && self.health.is_none() => (Status::Running, None),
            (State::Running, health) => match seen.looping() {
                Some(code) => looping(code),
                None => self.silent(seen, silent, health.is_some(), start_timeout),
            },
        }
    }

    fn never_started(&self, start_timeout: Duration) -> (Status, Option<String>) {
        if self.age() < start_timeout {
            return (Status::Starting, Some("it is made and not started yet".to_owned()));
        }
        let reason = "its making was interrupted; create the seat again to finish it, or destroy it";
        (Status::Error, Some(reason.to_owned()))
    }

    fn silent(
        &self,
        seen: &Seen,
        silent: Option<&str>,
        has_check: bool,
        start_timeout: Duration,
    ) -> (Status, Option<String>) {
        let what = match silent {
            Some(why) => why.to_owned(),
            None if has_check => "its health check has not passed yet".to_owned(),
            None => "it does not answer yet".to_owned(),
        };
        // Young containers get their time; old ones (the service may just have come up) from when it was noticed.
        if self.age() < start_timeout || seen.silent_for() < start_timeout {
            return (Status::Starting, Some(what));
        }
        let reason = format!("{what} after {} s; see its log, or destroy the seat", start_timeout.as_secs());
        (Status::Error, Some(reason))
    }

    fn age(&self) -> Duration {
        let created = self.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
        Timestamp::now().duration_since(created).try_into().unwrap_or_default()
    }

    /// The seat as the domain sees it.
    pub(crate) fn instance(&self, config: &DockerConfig, status: (Status, Option<String>)) -> Instance {
        let (status, reason) = status;
        Instance {
            id: Some(self.id.clone()),
            seat: self.seat.clone(),
            ip: self.ip,
            status,
            endpoints: self.endpoints(config),
            ports: self.ports.clone(),
            image: self.image.clone(),
            provider: ProviderKind::Docker,
            created_at: self.created_at,
            expires_at: None,
            reason,
        }
    }

    fn endpoints(&self, config: &DockerConfig) -> BTreeMap<u16, String> {
        let of = |port: &u16| {
            let reached = match (self.published.get(port), self.ip) {
                (Some(host), _) => reached(config, *host),
                (None, Some(ip)) => SocketAddr::new(ip, *port).to_string(),
                (None, None) => return None,
            };
            Some((*port, format!("http://{reached}")))
        };
        self.ports.iter().filter_map(of).collect()
    }
}

/// The `host:port` at which a published port is reached: by the configured name, and never by the wildcard
/// address (which the scripts' `-p` binds to).
fn reached(config: &DockerConfig, published: SocketAddr) -> String {
    match &config.endpoint_host {
        Some(name) => format!("{name}:{}", published.port()),
        None if published.ip().is_unspecified() => format!("127.0.0.1:{}", published.port()),
        None => published.to_string(),
    }
}

fn ports(labels: &Labels, exposed: Vec<u16>) -> Vec<u16> {
    let recorded: Option<Vec<u16>> =
        labels.get(names::PORTS).and_then(|text| text.split(',').map(|port| port.parse().ok()).collect());
    workspace::order_ports(recorded.unwrap_or(exposed))
}

/// The engine's word for a state; the client library has an enumeration of its own per kind of answer.
fn state(word: &str) -> State {
    match word {
        "created" => State::Created,
        // Of an engine from 1.53 on; it still runs.
        "running" | "stopping" => State::Running,
        "paused" => State::Paused,
        "restarting" => State::Restarting,
        "removing" => State::Removing,
        "dead" => State::Dead,
        _ => State::Exited,
    }
}

fn health_of_inspection(health: Option<HealthStatusEnum>) -> Option<Health> {
    match health? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

/// A listing tells health and exit code only inside its status text (`Up 2 minutes (healthy)`, `Exited (3) 5
/// seconds ago`, `Restarting (3) …`; moby `daemon/container/state.go`). Newer engines have a field for the first;
/// the text is there in all of them.
fn health_in_text(status: &str) -> Option<Health> {
    match status.rsplit_once('(')?.1 {
        "healthy)" => Some(Health::Healthy),
        "unhealthy)" => Some(Health::Unhealthy),
        "health: starting)" => Some(Health::Starting),
        _ => None,
    }
}

fn exit_code_in_text(status: &str) -> Option<i64> {
    let rest = status.strip_prefix("Exited (").or_else(|| status.strip_prefix("Restarting ("))?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seats::SeatBound;

    use super::*;

    fn view(state: State, health: Option<Health>, exit_code: Option<i64>) -> View {
        View {
            id: "c1".into(),
            seat: SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(1).unwrap()),
            name: "clarateach-abc-1".into(),
            state,
            health,
            exit_code,
            ip: Some([10, 213, 0, 2].into()),
            ports: vec![3001, 3002],
            published: BTreeMap::new(),
            image: "img".into(),
            created_at: Some(Timestamp::UNIX_EPOCH),
        }
    }

    #[rstest]
    #[case("Up 2 minutes (healthy)", Some(Health::Healthy), None)]
    #[case("Up 2 seconds (health: starting)", Some(Health::Starting), None)]
    #[case("Up 2 minutes (unhealthy)", Some(Health::Unhealthy), None)]
    #[case("Up 2 minutes", None, None)]
    #[case("Exited (3) 5 seconds ago", None, Some(3))]
    #[case("Restarting (127) Less than a second ago", None, Some(127))]
    #[case("Created", None, None)]
    fn reads_the_status_text(#[case] text: &str, #[case] health: Option<Health>, #[case] code: Option<i64>) {
        assert_eq!((health_in_text(text), exit_code_in_text(text)), (health, code));
    }

    #[rstest]
    #[case(State::Running, None, None, None, Status::Running)]
    #[case(State::Running, None, None, Some("port 3001 does not answer"), Status::Starting)]
    #[case(State::Running, Some(Health::Healthy), None, None, Status::Running)]
    #[case(State::Running, Some(Health::Starting), None, None, Status::Starting)]
    #[case(State::Running, Some(Health::Unhealthy), None, None, Status::Error)]
    #[case(State::Exited, None, Some(0), None, Status::Stopped)]
    #[case(State::Exited, None, Some(143), None, Status::Stopped)]
    #[case(State::Exited, None, Some(1), None, Status::Stopped)]
    #[case(State::Restarting, None, Some(3), None, Status::Error)]
    #[case(State::Created, None, None, None, Status::Error)]
    #[case(State::Dead, None, None, None, Status::Error)]
    #[case(State::Paused, None, None, None, Status::Stopped)]
    fn the_status_of_a_seat(
        #[case] state: State,
        #[case] health: Option<Health>,
        #[case] exit_code: Option<i64>,
        #[case] silent: Option<&str>,
        #[case] expected: Status,
    ) {
        let (status, reason) =
            view(state, health, exit_code).status(&Seen::default(), silent, Duration::from_secs(60));
        assert_eq!(status, expected);
        let is_plain_stop = status == Status::Stopped && matches!(exit_code, Some(0 | 143));
        assert_eq!(reason.is_some(), status != Status::Running && !is_plain_stop);
    }

    #[test]
    fn silence_becomes_an_error_when_its_time_is_over() {
        let view = view(State::Running, None, None);
        let (status, reason) =
            view.status(&Seen::default(), Some("port 3002 does not answer"), Duration::ZERO);
        assert_eq!(status, Status::Error);
        assert!(reason.unwrap().starts_with("port 3002 does not answer after 0 s"));
    }

    #[test]
    fn the_reason_of_a_dying_workspace_has_its_code_and_last_words() {
        let watch = crate::watch::Watch::default();
        watch.heard("c1", "boom: no licence file".into());
        let seen = watch.of("c1");
        let (_, reason) = view(State::Restarting, None, Some(3)).status(&seen, None, Duration::ZERO);
        assert_eq!(reason.unwrap(), "the workspace exits with code 3: boom: no licence file");
    }

    #[test]
    fn endpoints_are_published_ports_when_there_are_any() {
        let mut view = view(State::Running, None, None);
        let config = DockerConfig::default();
        assert_eq!(view.endpoints(&config)[&3002], "http://10.213.0.2:3002");
        view.published = BTreeMap::from([
            (3001, "127.0.0.1:49153".parse().unwrap()),
            (3002, "127.0.0.1:49154".parse().unwrap()),
        ]);
        assert_eq!(view.endpoints(&config)[&3001], "http://127.0.0.1:49153");
        assert!(view.target(&config).unwrap().proxied);
        let config = DockerConfig { endpoint_host: Some("host.docker.internal".into()), ..config };
        assert_eq!(view.endpoints(&config)[&3002], "http://host.docker.internal:49154");
    }
}
