//! What an image says about running it (OCI image specification 1.1, config.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The image's configuration, as far as booting it needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// The processor, in Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// The operating system, in Go's words.
    #[serde(default)]
    pub os: String,
    /// How to run it.
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    /// Its layers.
    pub rootfs: RootFs,
}

/// The layers of an image, from the lowest on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// The digests of the unpacked layers.
    #[serde(default, deserialize_with = "digests")]
    pub diff_ids: Vec<Digest>,
}

/// How to run an image. It is read as images write it, and as it is written here: in `image.json`, with lower case names
/// and with lists for sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct RunConfig {
    /// Who runs it: a name or number, and perhaps a group after a colon. Empty is root.
    #[serde(default, deserialize_with = "or_default", alias = "user")]
    pub user: String,
    /// Ports that it listens on, as `3001/tcp`.
    #[serde(default, deserialize_with = "keys", alias = "exposed_ports")]
    pub exposed_ports: Vec<String>,
    /// Its environment, as `NAME=value`.
    #[serde(default, deserialize_with = "or_default", alias = "env")]
    pub env: Vec<String>,
    /// What is run.
    #[serde(default, deserialize_with = "or_default", alias = "entrypoint")]
    pub entrypoint: Vec<String>,
    /// What is run where there is no entrypoint, or what that is given.
    #[serde(default, deserialize_with = "or_default", alias = "cmd")]
    pub cmd: Vec<String>,
    /// Where it is run; empty is `/`.
    #[serde(default, deserialize_with = "or_default", alias = "working_dir")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, deserialize_with = "or_default", alias = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Folders that are to outlive a container.
    #[serde(default, deserialize_with = "keys", alias = "volumes")]
    pub volumes: Vec<String>,
    /// The signal that ends it; empty is `SIGTERM`.
    #[serde(default, deserialize_with = "or_default", alias = "stop_signal")]
    pub stop_signal: String,
    /// How its health is found out (Docker's extension).
    #[serde(default, alias = "healthcheck")]
    pub healthcheck: Option<Healthcheck>,
}

/// How the health of a container is found out. Durations are in nanoseconds; 0 is the runtime's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Healthcheck {
    /// `["CMD", program, …]`, `["CMD-SHELL", command]` or `["NONE"]`.
    #[serde(default, deserialize_with = "or_default", alias = "test")]
    pub test: Vec<String>,
    /// From the end of one check to the beginning of the next.
    #[serde(default, deserialize_with = "or_default", alias = "interval")]
    pub interval: i64,
    /// How long a check may take.
    #[serde(default, deserialize_with = "or_default", alias = "timeout")]
    pub timeout: i64,
    /// How long failures do not count after the start.
    #[serde(default, deserialize_with = "or_default", alias = "start_period")]
    pub start_period: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(default, deserialize_with = "or_default", alias = "retries")]
    pub retries: i64,
}

/// Programs in Go write `null` for what is empty.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A set, which Go writes as an object of empty objects, and we as a list.
fn keys<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Set {
        Keys(BTreeMap<String, serde::de::IgnoredAny>),
        List(Vec<String>),
    }
    Ok(match Option::<Set>::deserialize(from)? {
        Some(Set::Keys(keys)) => keys.into_keys().collect(),
        Some(Set::List(list)) => list,
        None => Vec::new(),
    })
}

fn digests<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Digest>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(from)?.unwrap_or_default();
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_is_read() {
        let config: ImageConfig = serde_json::from_str(
            r#"{"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "history": [],
                "config": {"User": "1000:1000", "ExposedPorts": {"3002/tcp": {}, "3001/tcp": {}}, "Env": ["A=b"],
                  "Entrypoint": ["/init"], "Cmd": null, "Labels": null, "Volumes": {"/data": {}}, "OnBuild": null,
                  "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000}},
                "rootfs": {"type": "layers", "diff_ids": [
                  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#,
        )
        .unwrap();
        assert_eq!(config.rootfs.diff_ids, [Digest::of(b"")]);
        assert_eq!(config.config.exposed_ports, ["3001/tcp", "3002/tcp"]);
        assert_eq!(config.config.healthcheck.as_ref().unwrap().interval, 1_000_000_000);
        let again = serde_json::to_string(&config.config).unwrap();
        assert_eq!(serde_json::from_str::<RunConfig>(&again).unwrap(), config.config, "{again}");
        assert!(config.config.cmd.is_empty() && config.config.labels.is_empty());
        let bare: ImageConfig =
            serde_json::from_str(r#"{"config": null, "rootfs": {"diff_ids": null}}"#).unwrap();
        assert_eq!(bare.config, RunConfig::default());
        assert!(serde_json::from_str::<ImageConfig>(r#"{"rootfs": {"diff_ids": ["sha256:x"]}}"#).is_err());
    }
}
