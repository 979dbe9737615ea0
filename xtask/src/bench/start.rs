//! The service as a process: started with a clock in hand, and stopped by its own id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use super::objects::SERVICE_POOL;
use super::service::Client;
use super::spread::Spread;
use super::ways::millis;
use crate::child::Family;

const START: Duration = Duration::from_secs(20);
const SHUTDOWN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(1);

/// The service, running.
#[derive(Debug)]
pub(super) struct Running {
    family: Family,
    log: PathBuf,
    pub(super) client: Client,
    /// From the start of the process until it served a request.
    pub(super) took: Duration,
}

/// What is started, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup<'a> {
    pub(super) binary: &'a Path,
    /// Where its files go.
    pub(super) folder: &'a Path,
    /// Flags beyond those that every measured service has.
    pub(super) flags: &'a [String],
}

impl Setup<'_> {
    /// Starts the service with a pool of addresses of its own, and waits until it serves. The metadata guard is one
    /// table for the whole host: it is left to the service that runs here for good.
    pub(super) async fn start(self) -> Result<Running> {
        let listen = free_address()?;
        let (config, log) = (self.folder.join("orchestrator.toml"), self.folder.join("log"));
        std::fs::write(&config, "# Empty on purpose: no file of this machine has a say.\n")?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(self.binary);
        command.args(["serve", "--listen", &listen, "--docker-pool", SERVICE_POOL, "--log-format", "json"]);
        command
            .args(["--docker-metadata-guard", "off", "--config"])
            .arg(&config)
            .args(self.flags)
            .current_dir(self.folder);
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "DOCKER_HOST" || name == "PATH"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);

        let began = Instant::now();
        let mut family = Family::spawn(&mut command)?;
        let client = Client::new(format!("http://{listen}"), family.id())?;
        while !client.lives().await {
            if let Ok(status) = tokio::time::timeout(POLL, family.ended()).await {
                bail!("the service ended with {} instead of serving:\n{}", status?, read(&log));
            }
            ensure!(began.elapsed() < START, "the service does not serve:\n{}", read(&log));
        }
        Ok(Running { family, log, client, took: began.elapsed() })
    }

    /// How long a start takes until a request is served, in milliseconds.
    pub(super) async fn times(self, samples: usize) -> Result<Option<Spread>> {
        let mut took = Vec::new();
        for _ in 0..samples {
            let service = self.start().await?;
            took.push(millis(service.took));
            service.stop().await?;
        }
        Ok(Spread::of(took))
    }
}

impl Running {
    /// Asks it to end, and waits for that.
    pub(super) async fn stop(mut self) -> Result<()> {
        let status = self.family.end(SHUTDOWN).await?;
        ensure!(status.success(), "the service ended with {status}:\n{}", read(&self.log));
        Ok(())
    }
}

/// An address that was free a moment ago. The service could choose one itself, but then the clock would include
/// how that is found out.
fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default().trim().to_owned()
}
