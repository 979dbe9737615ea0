//! An agent of a test's own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use guest_protocol::client::{Agent, LinkOptions};
use guest_protocol::{GuestConfig, Health, Restart, Run, WorkloadState};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// Far more than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An agent in a process of its own; it is killed when this is dropped.
pub(crate) struct Served {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) process: Child,
}

impl Drop for Served {
    /// In a guest everything ends with the agent; here what it started would outlive it.
    fn drop(&mut self) {
        let agent = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        for pid in agent.into_iter().flat_map(descendants).chain(agent).filter_map(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Children of a process, and theirs (`proc_tid_children(5)`).
fn descendants(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.flat_map(|child| descendants(child).into_iter().chain([child])).collect()
}

impl Served {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_guest-agent"))
            .arg("serve")
            .arg(folder.path().join("agent.sock"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = within(lines.next_line()).await.unwrap();
        assert_eq!(first.as_deref(), Some("ready"));
        Self { folder, process }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub(crate) async fn stream(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Agent {
        let options = LinkOptions { ask_again: Duration::from_millis(100), ..LinkOptions::default() };
        Agent::connect(self.stream().await, options).await.unwrap()
    }

    /// One whose workload is this script.
    pub(crate) async fn with(script: &str) -> (Self, Agent) {
        let served = Self::start().await;
        let agent = served.connect().await;
        agent.configure(&config(script)).await.unwrap();
        wait(&agent, |health| health.workload.state != WorkloadState::None).await;
        (served, agent)
    }
}

/// What runs a script as the workload. Pauses are short, since nobody waits for them here.
pub(crate) fn config(script: &str) -> GuestConfig {
    let run = Run { entrypoint: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), ..Run::default() };
    let mut config = GuestConfig::new("rust-101/7", "seat-7", "0".repeat(32), run);
    config.restart = Restart { first_ms: 10, longest_ms: 50, ..Restart::default() };
    config
}

/// Waits until this holds of its health.
pub(crate) async fn wait(agent: &Agent, until: impl Fn(&Health) -> bool) -> Health {
    let mut watch = agent.watch().await.unwrap();
    within(async {
        loop {
            let health = watch.next().await.unwrap().unwrap();
            if until(&health) {
                return health;
            }
        }
    })
    .await
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it hangs")
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits until a process is gone, and its entry with it.
pub(crate) async fn gone(pid: u32) {
    within(async {
        while std::fs::exists(format!("/proc/{pid}")).unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
