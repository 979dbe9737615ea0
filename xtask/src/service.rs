//! A running `orchestrator serve`, cut off from the settings of whoever runs this.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::child::Family;

/// How long a start may take; tens of milliseconds are usual.
const START: Duration = Duration::from_secs(20);
/// How long a shutdown may take. The service itself gives running creates 30 s.
const SHUTDOWN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(10);

/// The service, and its command line.
#[derive(Debug)]
pub(crate) struct Service {
    family: Family,
    binary: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it logs, one JSON object a line.
    pub(crate) log: PathBuf,
}

impl Service {
    /// Starts it and waits until it listens, in a folder that gets an empty configuration and `service.log`. With a
    /// token it lets nobody in without it.
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        flags: &[&str],
        token: Option<&str>,
    ) -> Result<Self> {
        let log = folder.join("service.log");
        let config = config(folder);
        std::fs::write(&config, "# Empty on purpose: no file of this machine has a say.\n")?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = isolated(binary);
        command
            .current_dir(folder)
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config)
            .args(flags);
        command.envs(token.map(|token| ("ORCHESTRATOR_TOKEN", token)));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut family = Family::spawn(&mut command)?;

        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some(address) = text.lines().find_map(listening) {
                return Ok(Self { family, binary: binary.to_owned(), address, log });
            }
            let ended = tokio::time::timeout(POLL, family.ended()).await;
            if let Ok(status) = ended {
                bail!("the service ended with {} instead of listening:\n{}", status?, text.trim());
            }
            if started.elapsed() > START {
                drop(family.end(Duration::from_secs(1)).await);
                bail!("the service does not listen after {} s:\n{}", START.as_secs(), text.trim());
            }
        }
    }

    /// Its address as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        self.family.id()
    }

    /// The command line, talking to this service.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = isolated(&self.binary);
        command.env("ORCHESTRATOR_URL", self.url()).args(arguments);
        command
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        self.family.ended().await
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let status = self.family.end(SHUTDOWN).await?;
        if !status.success() {
            bail!("the service ended with {status}; see {}", self.log.display());
        }
        Ok(())
    }
}

/// The configuration file in a service's folder; its path tells the process of this folder's service from others.
pub(crate) fn config(folder: &Path) -> PathBuf {
    folder.join("orchestrator.toml")
}

/// The binary without any setting from the environment.
fn isolated(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORCHESTRATOR_") {
            command.env_remove(name);
        }
    }
    command
}

fn listening(line: &str) -> Option<SocketAddr> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    (entry["message"] == "listening").then(|| entry["address"].as_str()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_address() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:38807","token":false}"#;
        assert_eq!(listening(line), Some("127.0.0.1:38807".parse().unwrap()));
        assert_eq!(listening(r#"{"message":"stopped","address":"127.0.0.1:1"}"#), None);
        assert_eq!(listening("error: cannot listen"), None);
    }
}
