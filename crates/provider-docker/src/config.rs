//! What the operator can choose about Docker seats.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::Ipv4Net;
use seats::SeatBound;

/// The settings of a [`crate::DockerProvider`]. [`DockerConfig::default`] is safe on a plain Linux host.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// Where the engine listens.
    pub host: DockerHost,
    /// The addresses from which workshops get their subnets. Docker's own pools end near 31 networks.
    pub pool: Ipv4Net,
    /// How large a workshop's subnet is; `None` takes the smallest that holds [`DockerConfig::seat_bound`] seats.
    pub subnet_prefix: Option<u8>,
    /// The highest seat number, which a subnet must have room for.
    pub seat_bound: SeatBound,
    /// Publish each workspace port on a free port of this host address, and point endpoints there. For hosts that
    /// cannot reach container addresses (macOS).
    pub publish: Option<IpAddr>,
    /// The name or address under which published ports are reached; `None` is the address they are published on.
    pub endpoint_host: Option<String>,
    /// A command instead of the image's own.
    pub command: Option<Vec<String>>,
    /// Sets `AUTH_DISABLED` of the workspaces.
    pub auth_disabled: bool,
    /// Sets `JWKS_URL` of the workspaces.
    pub jwks_url: Option<String>,
    /// The capabilities that a seat keeps (capabilities(7), without `CAP_`); all others are dropped.
    pub capabilities: Vec<String>,
    /// The size in MiB at which a seat's log file is rotated.
    pub log_max_size_mib: u32,
    /// How many log files of a seat are kept.
    pub log_max_files: u32,
    /// No traffic between the seats of a workshop.
    pub isolate_seats: bool,
    /// Attach each seat to the scripts' shared proxy network as well. Refused while two workshops are on the
    /// host, because the seats of both would meet there under the same alias.
    pub shared_network: bool,
    /// How long a workspace whose data is kept may take to stop, before it is killed.
    pub stop_grace: Duration,
    /// How long one call to the engine may take.
    pub call_timeout: Duration,
    /// How long after its start a seat that does not answer is `starting` before it is `error`.
    pub start_timeout: Duration,
    /// Whether seats are kept from the cloud's metadata service.
    pub guard: GuardMode,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: DockerHost::default(),
            pool: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 213, 0, 0), 16),
            subnet_prefix: None,
            seat_bound: SeatBound::default(),
            publish: None,
            endpoint_host: None,
            command: None,
            auth_disabled: false,
            jwks_url: None,
            // What an entrypoint needs that starts as root, prepares its volume and becomes `learner`.
            capabilities: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]
                .map(str::to_owned)
                .to_vec(),
            log_max_size_mib: 10,
            log_max_files: 2,
            isolate_seats: true,
            shared_network: false,
            stop_grace: Duration::from_secs(10),
            call_timeout: Duration::from_secs(120),
            start_timeout: Duration::from_secs(60),
            guard: GuardMode::Auto,
        }
    }
}

impl DockerConfig {
    /// The prefix length of a workshop's subnet.
    ///
    /// # Errors
    /// When a subnet of the configured size has no room for every seat, or does not fit into the pool.
    pub fn subnet_prefix(&self) -> Result<u8, ConfigError> {
        // Every seat, the gateway, and the network and broadcast addresses.
        let needed = u32::from(self.seat_bound.highest()) + 3;
        let smallest = 32 - u8::try_from(needed.next_power_of_two().trailing_zeros()).unwrap_or(32);
        let prefix = self.subnet_prefix.unwrap_or(smallest);
        if prefix > smallest {
            return Err(ConfigError::SubnetTooSmall { prefix, smallest, seats: self.seat_bound.highest() });
        }
        if prefix < self.pool.prefix_len() {
            return Err(ConfigError::PoolTooSmall { pool: self.pool, prefix });
        }
        Ok(prefix)
    }
}

/// Why a [`DockerConfig`] cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The subnets have no room for a whole class.
    #[error(
        "docker.subnet_prefix /{prefix} has no room for {seats} seats; use /{smallest} or larger, or lower seats.max"
    )]
    SubnetTooSmall {
        /// What is configured.
        prefix: u8,
        /// The smallest subnet that does.
        smallest: u8,
        /// The highest seat number.
        seats: u16,
    },
    /// Not one subnet fits.
    #[error("docker.pool {pool} has no room for one workshop of /{prefix}")]
    PoolTooSmall {
        /// What is configured.
        pool: Ipv4Net,
        /// The subnet that is needed.
        prefix: u8,
    },
    /// A workspace that uses its grace would look like an engine that does not answer.
    #[error("seats.stop_grace must be shorter than docker.call_timeout")]
    StopGrace,
    /// An engine address of a kind that is not served.
    #[error(
        "docker.host {0:?} is not supported: give unix:///path/to/docker.sock (a remote engine's socket can be forwarded with ssh -L)"
    )]
    Host(String),
}

/// Where the engine listens: a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost(PathBuf);

impl DockerHost {
    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.0
    }
}

impl Default for DockerHost {
    fn default() -> Self {
        Self("/var/run/docker.sock".into())
    }
}

impl FromStr for DockerHost {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') { Ok(Self(path.into())) } else { Err(ConfigError::Host(text.to_owned())) }
    }
}

impl std::fmt::Display for DockerHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

/// Whether seats are kept from the cloud's metadata service (169.254.169.254 and its kin), from which any
/// process on a cloud host can fetch the host's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// Wherever the service can install a packet filter; a warning where it cannot.
    #[default]
    Auto,
    /// No seat is made without it.
    Required,
    /// Not at all.
    Off,
}

impl FromStr for GuardMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "required" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            _ => Err("one of auto, required, off".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(100, None, Ok(25))]
    #[case(61, None, Ok(26))]
    #[case(62, None, Ok(25))]
    #[case(1, None, Ok(30))]
    #[case(9999, None, Ok(18))]
    #[case(100, Some(24), Ok(24))]
    fn a_subnet_holds_a_class(
        #[case] seats: u16,
        #[case] subnet_prefix: Option<u8>,
        #[case] prefix: Result<u8, ConfigError>,
    ) {
        let seat_bound = SeatBound::new(seats).unwrap();
        let config = DockerConfig { seat_bound, subnet_prefix, ..DockerConfig::default() };
        assert_eq!(config.subnet_prefix(), prefix);
    }

    #[test]
    fn a_subnet_too_small_or_a_pool_too_small_is_refused() {
        let config = DockerConfig { subnet_prefix: Some(26), ..DockerConfig::default() };
        assert!(config.subnet_prefix().unwrap_err().to_string().contains("use /25"));
        let config = DockerConfig { pool: "10.0.0.0/26".parse().unwrap(), ..DockerConfig::default() };
        assert!(matches!(config.subnet_prefix(), Err(ConfigError::PoolTooSmall { .. })));
    }

    #[rstest]
    #[case("unix:///run/x.sock", "unix:///run/x.sock")]
    #[case("/run/x.sock", "unix:///run/x.sock")]
    fn takes_a_socket(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<DockerHost>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("tcp://1.2.3.4:2375")]
    #[case("run/x.sock")]
    #[case("")]
    fn refuses_other_hosts(#[case] text: &str) {
        assert!(text.parse::<DockerHost>().is_err());
    }
}
