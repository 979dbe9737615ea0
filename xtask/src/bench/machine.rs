//! Where it was measured; nothing that names a host.

use std::fs;

use anyhow::Result;
use bollard::Docker;
use serde::Serialize;
use tokio::process::Command;

use super::process;
use crate::child::output;
use crate::repo::Repo;

/// The machine, its engine and the code.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) memory_mib: f64,
    pub(super) kernel: String,
    pub(super) engine: String,
    pub(super) engine_api: String,
    pub(super) storage: String,
    pub(super) cgroups: String,
    /// The commit, with a `+` when files differ from it.
    pub(super) code: String,
    /// The load average of the last minute, before and after: what else the machine had to do.
    pub(super) load: [f64; 2],
}

impl Machine {
    pub(super) async fn look(docker: &Docker, repo: &Repo) -> Result<Self> {
        let version = docker.version().await?;
        let info = docker.info().await?;
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: model.map_or_else(String::new, |(_, model)| model.to_owned()),
            memory_mib: process::memory_mib()?.1.round(),
            kernel: version.kernel_version.unwrap_or_default(),
            engine: version.version.unwrap_or_default(),
            engine_api: version.api_version.unwrap_or_default(),
            storage: info.driver.unwrap_or_default(),
            cgroups: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            code: code(repo).await.unwrap_or_default(),
            load: [load(); 2],
        })
    }

    /// Notes the load at the end.
    pub(super) fn look_again(&mut self) {
        self.load[1] = load();
    }
}

async fn code(repo: &Repo) -> Result<String> {
    let git = |arguments: &[&str]| {
        let mut command: Command = repo.command("git");
        command.args(arguments);
        command
    };
    let commit = output(&mut git(&["rev-parse", "--short", "HEAD"])).await?;
    let changes = output(&mut git(&["status", "--porcelain", "--", "crates", "Cargo.lock"])).await?;
    Ok(format!("{}{}", commit.trim(), if changes.trim().is_empty() { "" } else { "+" }))
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
