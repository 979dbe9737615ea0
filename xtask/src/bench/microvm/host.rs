//! A host of microVM seats in the bench's own network namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde_json::Value;
use tokio::process::Command;

use super::bare;
use super::monitor::Monitor;
use crate::child::output;
use crate::service::{Service, isolated};

/// A state folder with a prepared kernel, and images.
pub(super) struct Host {
    folder: PathBuf,
    binary: PathBuf,
}

impl Host {
    /// Makes one in a folder of its own. A kernel has still to be prepared.
    pub(super) async fn new(binary: &Path) -> Result<Self> {
        let up = output(Command::new("ip").args(["link", "set", "lo", "up"])).await;
        up.context("loopback cannot be brought up: is this a namespace of its own?")?;
        bare::network().await.context("bare guests have no network")?;
        let folder = std::env::temp_dir().join(format!("mb{}", std::process::id()));
        fs::create_dir(&folder)?;
        // The users of monitors must reach the kernel in it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        fs::create_dir(folder.join("archives"))?;
        vm_testbed::archives(&folder.join("archives"))?;
        Ok(Self { folder, binary: binary.to_owned() })
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The kernel and first root of seats.
    pub(super) fn boot(&self) -> Result<(PathBuf, PathBuf)> {
        let boots = self.state().join("microvm/boot");
        let current = boots.join(fs::read_to_string(boots.join("current"))?.trim_end());
        Ok((current.join("kernel"), current.join("initramfs")))
    }

    /// The folder of a seat.
    pub(super) fn seat(&self, workshop: &str, seat: u16) -> PathBuf {
        self.state().join("microvm/workshops").join(workshop).join(seat.to_string())
    }

    /// A folder of the bench's own.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prepares the kernel for a monitor.
    pub(super) async fn prepare(&self, monitor: &Monitor) -> Result<()> {
        let (kernel, agent) = (vm_testbed::Kernel::find()?, vm_testbed::agent()?);
        let mut setup = isolated(&self.binary);
        setup.args(["microvm", "setup", "--from"]).arg(kernel.source()).arg("--agent").arg(agent);
        setup.arg("--state-dir").arg(self.state()).env("ORCHESTRATOR_MICROVM_MONITOR", monitor.setting());
        output(&mut setup).await.map(drop)
    }

    /// Why guests do not run with this host's KVM, by the service's own check; nothing when they do.
    pub(super) async fn why_no_kvm(&self) -> Result<Option<String>> {
        let config = self.folder.join("doctor.toml");
        fs::write(&config, "# Empty on purpose: no file of this machine has a say.\n")?;
        let mut doctor = isolated(&self.binary);
        doctor.args(["--output=json", "doctor", "--microvm-monitor=firecracker", "--config"]).arg(config);
        // It finds fault with a host that serves nobody yet, and says so with its exit code.
        let said =
            doctor.args(self.settings()).output().await.context("the service's binary cannot be run")?;
        why_no_kvm(&said.stdout).with_context(|| format!("doctor says {said:?}"))
    }

    /// Starts a service over a monitor and waits until it listens. `snapshot` is as in its configuration.
    pub(super) async fn serve(&self, monitor: &Monitor, snapshot: &str) -> Result<Service> {
        let mut flags = monitor.flags();
        flags.push(format!("--microvm-snapshot={snapshot}"));
        self.serve_with(flags).await
    }

    /// Starts a service over Firecracker, jailed or not, that does not wait for guests.
    pub(super) async fn serve_firecracker(
        &self,
        firecracker: &Path,
        jailer: Option<&Path>,
    ) -> Result<Service> {
        let firecracker = format!("--microvm-firecracker={}", firecracker.display());
        let jailer = jailer.map_or("off".into(), |jailer| jailer.display().to_string());
        let jailer = format!("--microvm-jailer={jailer}");
        let more = ["--microvm-monitor=firecracker", "--seats-start-timeout=1s", &firecracker, &jailer];
        self.serve_with(more.map(str::to_owned).to_vec()).await
    }

    async fn serve_with(&self, more: Vec<String>) -> Result<Service> {
        let mut flags = vec!["--listen=127.0.0.1:0".to_owned(), "--seats-stop-grace=5s".to_owned()];
        flags.extend(self.settings().into_iter().chain(more));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        Service::start(&self.binary, &self.folder, &flags, None).await
    }

    /// What the service is told of this host.
    fn settings(&self) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        vec![
            "--provider=microvm".into(),
            "--microvm-memory-percent=1000".into(),
            "--microvm-registry=false".into(),
            format!("--docker-host=unix://{}", path("none.sock")),
            format!("--state-dir={}", path("state")),
            format!("--microvm-image-archives={}", path("archives")),
            format!("--microvm-cgroup={}", cgroup()),
            format!("--microvm-first-uid={}", first_user()),
            format!("--seats-image={}:latest", vm_testbed::IMAGE),
        ]
    }

    /// Ends what still runs in the namespace, and removes what was made.
    pub(super) fn sweep(&self) -> Result<()> {
        for pid in others()? {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        for root in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_cgroups(&root.path().join(cgroup()));
        }
        remove_cgroups(&Path::new("/sys/fs/cgroup").join(cgroup()));
        fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }
}

/// Where the users of monitors begin: not where those of another service of this host do, or of another bench.
fn first_user() -> u32 {
    0x6000_0000 + std::process::id() % (1 << 20) * 256
}

fn cgroup() -> String {
    format!("clarateach-bench-{}", std::process::id())
}

fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroups(&entry.path());
    }
    // The kernel is done with its processes a moment after they were killed.
    for _ in 0..1000 {
        if !folder.exists() || fs::remove_dir(folder).is_ok() {
            return;
        }
        std::thread::yield_now();
    }
}

/// Of what the service's check of a host printed.
fn why_no_kvm(said: &[u8]) -> Option<Option<String>> {
    let said: Value = serde_json::from_slice(said).ok()?;
    let found = said["checks"].as_array()?.iter().find(|check| check["name"] == "accelerator")?;
    let why = || found["detail"].as_str().unwrap_or_default().to_owned();
    Some((found["level"] != "ok").then(why))
}

/// All processes of this network namespace but this one.
fn others() -> Result<Vec<Pid>> {
    let own = fs::read_link("/proc/self/ns/net")?;
    let entries = fs::read_dir("/proc")?.flatten();
    let ids = entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let there = fs::read_link(entry.path().join("ns/net")).is_ok_and(|namespace| namespace == own);
        (there && pid != getpid()).then_some(pid)
    });
    Ok(ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_a_host_says_whether_guests_run() {
        let said = |level: &str| {
            format!(
                r#"{{"ok": false, "checks": [{{"name": "monitor", "level": "error", "detail": "x"}},
                    {{"name": "accelerator", "level": "{level}", "detail": "a trial guest"}}]}}"#
            )
        };
        assert_eq!(why_no_kvm(said("ok").as_bytes()), Some(None));
        assert_eq!(why_no_kvm(said("error").as_bytes()), Some(Some("a trial guest".into())));
        for other in ["", "{}", r#"{"checks": []}"#] {
            assert_eq!(why_no_kvm(other.as_bytes()), None, "{other}");
        }
    }
}
