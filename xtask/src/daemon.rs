//! A program that listens: started with its output in a file, waited for, watched and stopped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::child::Family;

/// How long a start may take; tens of milliseconds are usual for the service, and a second for the portal.
const START: Duration = Duration::from_secs(30);
/// How long a shutdown may take. The service itself gives running creates 30 s.
const SHUTDOWN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(10);

/// The running program.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// What messages call it.
    what: &'static str,
    family: Family,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it prints.
    pub(crate) log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until a line of its output says where it listens.
    pub(crate) async fn start(
        what: &'static str,
        command: &mut Command,
        log: &Path,
        listening: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut family = Family::spawn(command)?;
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(log)?;
            if let Some(address) = text.lines().find_map(&listening) {
                return Ok(Self { what, family, address, log: log.to_owned() });
            }
            let ended = tokio::time::timeout(POLL, family.ended()).await;
            if let Ok(status) = ended {
                bail!("the {what} ended with {} instead of listening:\n{}", status?, text.trim());
            }
            if started.elapsed() > START {
                drop(family.end(Duration::from_secs(1)).await);
                bail!("the {what} does not listen after {} s:\n{}", START.as_secs(), text.trim());
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

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        self.family.ended().await
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let status = self.family.end(SHUTDOWN).await?;
        if !status.success() {
            bail!("the {} ended with {status}; see {}", self.what, self.log.display());
        }
        Ok(())
    }
}
