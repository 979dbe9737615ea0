//! A running `orchestrator serve`, cut off from the settings of whoever runs this.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use crate::daemon::Daemon;

/// The service, and its command line.
#[derive(Debug)]
pub(crate) struct Service {
    daemon: Daemon,
    binary: PathBuf,
}

impl Service {
    /// Starts it and waits until it listens, in a folder that gets an empty configuration and `service.log`, one JSON
    /// object a line. With a token it lets nobody in without it.
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        flags: &[&str],
        token: Option<&str>,
    ) -> Result<Self> {
        let config = config(folder);
        std::fs::write(&config, "# Empty on purpose: no file of this machine has a say.\n")?;
        let mut command = isolated(binary);
        command
            .current_dir(folder)
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config)
            .args(flags);
        command.envs(token.map(|token| ("ORCHESTRATOR_TOKEN", token)));
        let daemon = Daemon::start("service", &mut command, &folder.join("service.log"), listening).await?;
        Ok(Self { daemon, binary: binary.to_owned() })
    }

    /// The command line, talking to this service.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = isolated(&self.binary);
        command.env("ORCHESTRATOR_URL", self.url()).args(arguments);
        command
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(self) -> Result<()> {
        self.daemon.stop().await
    }
}

impl Deref for Service {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

/// The configuration file in a service's folder; its path tells the process of this folder's service from others.
pub(crate) fn config(folder: &Path) -> PathBuf {
    folder.join("orchestrator.toml")
}

/// The binary without any setting from the environment.
pub(crate) fn isolated(binary: &Path) -> Command {
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
