//! A host of microVM seats in the bench's own network namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::child::output;
use crate::repo::Repo;
use crate::service::{Service, isolated};

/// A state folder with a prepared kernel, and images.
pub(super) struct Host {
    folder: PathBuf,
    binary: PathBuf,
}

impl Host {
    /// Prepares one in a folder that is not there yet.
    pub(super) async fn new(repo: &Repo, folder: PathBuf, binary: &Path) -> Result<Self> {
        let up = output(repo.command("ip").args(["link", "set", "lo", "up"])).await;
        up.context("loopback cannot be brought up: is this a namespace of its own?")?;
        fs::create_dir(&folder)?;
        // The users of monitors must reach the kernel in it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        fs::create_dir(folder.join("archives"))?;
        vm_testbed::archives(&folder.join("archives"))?;
        let host = Self { folder, binary: binary.to_owned() };
        host.prepare("qemu").await?;
        Ok(host)
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
    pub(super) async fn prepare(&self, monitor: &str) -> Result<()> {
        let (kernel, agent) = (vm_testbed::Kernel::find()?, vm_testbed::agent()?);
        let mut setup = isolated(&self.binary);
        setup.args(["microvm", "setup", "--from"]).arg(kernel.source()).arg("--agent").arg(agent);
        setup.arg("--state-dir").arg(self.state()).env("ORCHESTRATOR_MICROVM_MONITOR", monitor);
        output(&mut setup).await.map(drop)
    }

    /// Starts a service over QEMU and waits until it listens. `snapshot` is as in its configuration.
    pub(super) async fn serve(&self, snapshot: &str) -> Result<Service> {
        let snapshot = format!("--microvm-snapshot={snapshot}");
        self.serve_with(&["--microvm-accelerator=tcg", "--seats-start-timeout=240s", &snapshot]).await
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
        self.serve_with(&["--microvm-monitor=firecracker", "--seats-start-timeout=1s", &firecracker, &jailer])
            .await
    }

    async fn serve_with(&self, more: &[&str]) -> Result<Service> {
        let (state, archives) = (self.state(), self.folder.join("archives"));
        let none = format!("--docker-host=unix://{}", self.folder.join("none.sock").display());
        let state = format!("--state-dir={}", state.display());
        let archives = format!("--microvm-image-archives={}", archives.display());
        let cgroup = format!("--microvm-cgroup={}", cgroup());
        let image = format!("--seats-image={}:latest", vm_testbed::IMAGE);
        let mut flags = vec![
            "--provider=microvm",
            "--listen=127.0.0.1:0",
            "--seats-stop-grace=5s",
            "--microvm-memory-percent=1000",
            "--microvm-registry=false",
            &none,
            &state,
            &archives,
            &cgroup,
            &image,
        ];
        flags.extend(more);
        Service::start(&self.binary, &self.folder, &flags, None).await
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
