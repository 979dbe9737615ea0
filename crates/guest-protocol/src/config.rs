//! Everything that makes a booted guest a seat: the body of `POST /v1/configure`.
//!
//! Kernel and first root are the same for all seats, so nothing of a seat is at rest on the host or on a kernel command
//! line. A guest is configured once; the same configuration again changes nothing, another one is refused.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{GuestPath, Network, Secret, SecretBytes, Signal};

/// What a seat's processes keep of root's powers unless told otherwise (capabilities(7), without `CAP_`): what an
/// entrypoint needs that starts as root, prepares its volume and becomes somebody else. The same as of containers.
pub const DEFAULT_CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];

/// Everything that makes a booted guest a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestConfig {
    /// Whose guest this is, for messages: `rust-101/7`.
    pub seat: String,
    /// The host name, at most 64 bytes (hostname(7)).
    pub hostname: String,
    /// Further lines of `/etc/hosts`, after those of localhost and of the host name.
    #[serde(default)]
    pub hosts: Vec<HostsEntry>,
    /// What `/etc/resolv.conf` says; the image's own is left alone when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// The interface; only loopback when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The host's clock in nanoseconds since 1970; the guest's own is left alone when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_unix_ns: Option<u64>,
    /// Random bytes of the host for the guest's generator, at most 512; 32 or more make it ready at once.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "String"))]
    pub entropy: SecretBytes,
    /// `/etc/machine-id`: 32 hex digits (machine-id(5)).
    pub machine_id: String,
    /// How the image is run.
    pub run: Run,
    /// The seat's variables; they stand before the image's own of the same name.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Limits inside the guest.
    #[serde(default)]
    pub limits: Limits,
    /// The folder on the disk `data`; no such disk is looked for when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Which of root's powers the seat's processes keep (capabilities(7), without `CAP_`).
    #[serde(default = "default_capabilities")]
    pub capabilities: Vec<String>,
    /// What happens when the workload ends.
    #[serde(default)]
    pub restart: Restart,
}

fn default_capabilities() -> Vec<String> {
    DEFAULT_CAPABILITIES.map(str::to_owned).to_vec()
}

impl GuestConfig {
    /// One that runs this image, with every other member empty or at its default.
    #[must_use]
    pub fn new(
        seat: impl Into<String>,
        hostname: impl Into<String>,
        machine_id: impl Into<String>,
        run: Run,
    ) -> Self {
        Self {
            seat: seat.into(),
            hostname: hostname.into(),
            hosts: Vec::new(),
            resolver: None,
            network: None,
            clock_unix_ns: None,
            entropy: SecretBytes::default(),
            machine_id: machine_id.into(),
            run,
            env: Vec::new(),
            limits: Limits::default(),
            workspace: None,
            capabilities: default_capabilities(),
            restart: Restart::default(),
        }
    }

    /// Whether this asks for the same seat: clock and entropy are other ones each time.
    #[must_use]
    pub fn same_seat(&self, other: &Self) -> bool {
        let stripped =
            |config: &Self| Self { clock_unix_ns: None, entropy: SecretBytes::default(), ..config.clone() };
        stripped(self) == stripped(other)
    }
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// What `/etc/resolv.conf` says (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Resolver {
    /// Name servers; the C library asks the first three.
    pub nameservers: Vec<IpAddr>,
    /// Domains that short names are looked for in.
    #[serde(default)]
    pub search: Vec<String>,
    /// Options, as `ndots:1`.
    #[serde(default)]
    pub options: Vec<String>,
}

/// How the image is run, in the image's own words (OCI image specification, config.md).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// What is run.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// What is run where there is no entrypoint, or what that is given.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// The image's variables, as `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Who runs it: a name or number, and perhaps a group after a colon. Empty is root.
    #[serde(default)]
    pub user: String,
    /// Where it is run; empty is `/`.
    #[serde(default)]
    pub working_dir: String,
    /// The signal that ends it; empty is `SIGTERM`.
    #[serde(default)]
    pub stop_signal: String,
}

impl Run {
    /// The signal that ends it: `SIGTERM` where the image names none that is known.
    #[must_use]
    pub fn stop_signal(&self) -> Signal {
        self.stop_signal.parse().unwrap_or(Signal::TERM)
    }
}

/// An image's variables are not ours to show: only their names are.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.env.iter().map(|pair| pair.split_once('=').map_or(&**pair, |(name, _)| name)).collect();
        f.debug_struct("Run")
            .field("entrypoint", &self.entrypoint)
            .field("cmd", &self.cmd)
            .field("env", &names)
            .field("user", &self.user)
            .field("working_dir", &self.working_dir)
            .field("stop_signal", &self.stop_signal)
            .finish()
    }
}

/// A variable of the seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvVar {
    /// Its name: not empty, without `=` and NUL.
    pub name: String,
    /// Its value, without NUL.
    #[cfg_attr(test, schemars(with = "String"))]
    pub value: Secret,
    /// Whether its value is blanked in the last line that the health quotes. True unless said otherwise.
    #[serde(default = "yes")]
    pub secret: bool,
}

const fn yes() -> bool {
    true
}

impl EnvVar {
    /// A variable whose value is never quoted.
    #[must_use]
    pub fn secret(name: impl Into<String>, value: impl Into<Secret>) -> Self {
        Self { name: name.into(), value: value.into(), secret: true }
    }

    /// A variable whose value may be quoted.
    #[must_use]
    pub fn open(name: impl Into<String>, value: impl Into<Secret>) -> Self {
        Self { secret: false, ..Self::secret(name, value) }
    }
}

/// Limits inside the guest; memory and processors are the machine's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limits {
    /// How many processes and threads the seat may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// The folder on the disk `data`. On its first use it gets the content and owner of the image's folder of that path, as
/// a new volume of Docker's does, or the image's user where the image has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workspace {
    /// Where it is.
    pub path: GuestPath,
}

/// What happens when the workload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Restart {
    /// Whether it is started again.
    pub policy: RestartPolicy,
    /// The first pause, in milliseconds; each one doubles.
    pub first_ms: u32,
    /// The longest pause, in milliseconds.
    pub longest_ms: u32,
    /// A workload that ran for so long starts over with the first pause, in milliseconds.
    pub reset_ms: u32,
}

impl Default for Restart {
    /// As Docker does: 100 ms, doubling to a minute, over again after ten seconds.
    fn default() -> Self {
        Self { policy: RestartPolicy::default(), first_ms: 100, longest_ms: 60_000, reset_ms: 10_000 }
    }
}

/// Whether a workload that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it ended, until the seat is stopped.
    #[default]
    UnlessStopped,
    /// When it ended by a signal or with another code than 0.
    OnFailure,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> GuestConfig {
        let run = Run { env: vec!["TOKEN=sk-canary-image".into(), "A".into()], ..Run::default() };
        let mut config = GuestConfig::new("rust-101/7", "seat-7", "0".repeat(32), run);
        config.env.push(EnvVar::secret("ANTHROPIC_API_KEY", "sk-canary-config"));
        config.entropy = b"sk-canary-entropy".to_vec().into();
        config
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", example());
        assert!(!shown.contains("canary") && shown.contains("ANTHROPIC_API_KEY"), "{shown}");
        assert!(shown.contains("TOKEN"), "{shown}");
    }

    #[test]
    fn the_least_document_is_enough() {
        let least =
            r#"{"seat": "a/1", "hostname": "seat-1", "machine_id": "00", "run": {}, "later": {"x": 1}}"#;
        let config: GuestConfig = serde_json::from_str(least).unwrap();
        assert_eq!(config, GuestConfig::new("a/1", "seat-1", "00", Run::default()));
        assert_eq!(config.restart.longest_ms, 60_000);
        assert_eq!(config.capabilities, DEFAULT_CAPABILITIES);
    }

    #[test]
    fn the_same_seat_at_another_time_is_the_same() {
        let later = GuestConfig { clock_unix_ns: Some(1), entropy: vec![1].into(), ..example() };
        assert!(example().same_seat(&later));
        let mut other = example();
        other.env[0].value = "sk-canary-other".into();
        assert!(!example().same_seat(&other));
        let json = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<GuestConfig>(&json).unwrap(), example());
    }
}
