//! An engine that belongs to one test.

mod needs;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::Host;

/// How often, and how many times, a new engine is asked whether it is there.
const POLL: Duration = Duration::from_millis(100);
const POLLS: u32 = 600;

/// A `dockerd` with data, socket, container runtime and network namespace of its own: two engines in one namespace
/// would fight for `docker0` and the packet filter. Killed, its containers included, when dropped.
#[derive(Debug)]
pub struct PrivateEngine {
    dir: PathBuf,
    namespace: String,
    /// The container runtime; as on a host, it is a service of its own and outlives the engine.
    containerd: Child,
    child: Option<Child>,
    live_restore: bool,
    _guard: tempfile::TempDir,
}

impl PrivateEngine {
    /// Starts an engine whose containers outlive it (`--live-restore`). With `disk_mib` its data is on a file system
    /// of that size in memory. Needs root and some programs: `None` where they are not, which has then been
    /// reported, and the test that asked counts as skipped.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(disk_mib: Option<u32>) -> Result<Option<Self>> {
        Self::start_as(disk_mib, true).await
    }

    /// Starts an engine as most hosts have it: when it starts again, it first ends the containers that it finds.
    /// Otherwise as [`PrivateEngine::start`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_without_live_restore() -> Result<Option<Self>> {
        Self::start_as(None, false).await
    }

    async fn start_as(disk_mib: Option<u32>, live_restore: bool) -> Result<Option<Self>> {
        if let Some(reason) = needs::missing() {
            needs::tell(&reason)?;
            return Ok(None);
        }
        let guard = tempfile::Builder::new().prefix("ct-engine-").tempdir()?;
        let dir = guard.path().to_owned();
        std::fs::create_dir(dir.join("data"))?;
        if let Some(size) = disk_mib {
            let data = dir.join("data").display().to_string();
            run("mount", &["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs", &data])?;
        }
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let namespace = format!("ct-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &namespace])?;
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
        let log = std::fs::File::create(dir.join("containerd.log"))?;
        let containerd = Command::new("containerd")
            .arg("--address")
            .arg(dir.join("containerd.sock"))
            .arg("--root")
            .arg(dir.join("data/containerd"))
            .arg("--state")
            .arg(dir.join("containerd"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("containerd cannot be run")?;
        let mut engine = Self { dir, namespace, containerd, child: None, live_restore, _guard: guard };
        engine.restart().await?;
        Ok(Some(engine))
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// Where its data is.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The name of its network namespace (`/run/netns/…`).
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A program in the engine's network namespace, from where its containers are reached.
    #[must_use]
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // Not `ip netns exec`, which mounts a /sys of its own, without the control groups.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }

    /// Kills the engine with SIGKILL; its containers live on until it starts again, as they would on a host.
    ///
    /// # Errors
    /// When it is not there to be killed.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the engine does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts the engine (again) over the same data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        // A killed engine leaves these; the next one would take its own old process for a rival.
        drop(std::fs::remove_file(self.dir.join("docker.pid")));
        drop(std::fs::remove_file(self.socket()));
        let child = self
            .inside("dockerd")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(self.data())
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(self.dir.join("docker.pid"))
            .arg("--containerd")
            .arg(self.dir.join("containerd.sock"))
            .args(self.live_restore.then_some("--live-restore"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd cannot be run")?;
        self.child = Some(child);
        for _ in 0..POLLS {
            if Host::at(&self.socket()).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        bail!("the private engine does not come up: {}", end.join(" | "))
    }

    /// Copies an image from another engine.
    ///
    /// # Errors
    /// When that fails.
    pub fn load(&self, from: &Path, image: &str) -> Result<()> {
        let mut save = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", from.display()))
            .args(["save", image])
            .stdout(Stdio::piped())
            .spawn()?;
        let stream = save.stdout.take().context("docker save has no output")?;
        let load = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("load")
            .stdin(stream)
            .stdout(Stdio::null())
            .status()?;
        anyhow::ensure!(save.wait()?.success() && load.success(), "{image} cannot be copied");
        Ok(())
    }

    /// The processes of this engine: its container runtime and the shims of its containers, which outlive it.
    fn processes(&self) -> Vec<Pid> {
        let marker = self.dir.display().to_string();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&marker)
            })
            .filter_map(Pid::from_raw)
            .collect()
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        // In order first, so that the engine unmounts and removes what it made.
        if let Some(mut child) = self.child.take() {
            let docker = |arguments: &[&str]| {
                let host = format!("unix://{}", self.socket().display());
                Command::new("docker").arg("--host").arg(host).args(arguments).output()
            };
            if let Ok(listed) = docker(&["ps", "-aq"]) {
                let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
                let mut arguments = vec!["rm", "-f"];
                arguments.extend(ids.split_whitespace());
                drop(docker(&arguments));
            }
            drop(docker(&["network", "prune", "-f"]));
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process(pid, Signal::TERM).ok();
            }
            drop(child.wait());
        }
        self.containerd.kill().ok();
        self.containerd.wait().ok();
        for pid in self.processes() {
            kill_process_group(pid, Signal::KILL).ok();
            kill_process(pid, Signal::KILL).ok();
        }
        // Whatever is still mounted below, deepest first, or the directory cannot be removed.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let marker = self.dir.display().to_string();
        let mut points: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|point| point.starts_with(&marker))
            .collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.len()));
        for point in points {
            drop(Command::new("umount").args(["-l", point]).output());
        }
        drop(run("ip", &["netns", "delete", &self.namespace]));
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("{program} cannot be run"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
