//! A guest with its disks and its link.

use std::path::{Path, PathBuf};
use std::time::Duration;

use guest_protocol::client::{Agent, LinkOptions};
use guest_protocol::{GuestConfig, Health, HostsEntry, Resolver, Run, Workspace};
use rootfs::build::Options;
use tokio::net::UnixStream;
use vm_testbed::{Disk, Initramfs, Kernel, Machine, Started};

use super::image::{Image, empty_disk};

/// Far more than an emulated processor needs on a busy machine: only what hangs gets there.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);
/// What the agent needs of Debian's kernel.
pub(crate) const MODULES: [&str; 7] =
    ["crc32c_generic", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "ext4", "overlay"];

pub(crate) struct Guest {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) run: Run,
    machine: Option<Started>,
    disks: fn(Machine, &Path) -> Machine,
}

/// Those of a seat, in an order that says nothing.
fn all_disks(mut machine: Machine, folder: &Path) -> Machine {
    for (serial, writable) in [("data", true), ("root", false), ("scratch", true)] {
        machine = machine.named_disk(serial, Disk { file: folder.join(serial), writable });
    }
    machine
}

impl Guest {
    /// Boots an image with a scratch and a data disk.
    pub(crate) fn boot(image: Image) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = image.build(&folder.path().join("root"), &Options::default());
        empty_disk(folder.path(), "scratch");
        empty_disk(folder.path(), "data");
        Self::with(folder, run, all_disks)
    }

    /// Boots with these disks.
    pub(crate) fn with(folder: tempfile::TempDir, run: Run, disks: fn(Machine, &Path) -> Machine) -> Self {
        let mut guest = Self { folder, run, machine: None, disks };
        guest.start();
        guest
    }

    /// Starts its machine, with the disks as they are.
    pub(crate) fn start(&mut self) {
        let kernel = Kernel::find().unwrap();
        let initramfs = Initramfs::of_agent(&kernel, &MODULES, &vm_testbed::agent().unwrap()).unwrap();
        let machine = Machine::new(kernel).memory(256).port(guest_protocol::PORT, &self.socket());
        let machine = (self.disks)(machine, self.folder.path());
        // A socket of the machine before.
        drop(std::fs::remove_file(self.socket()));
        self.machine = Some(machine.start(initramfs).unwrap());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// Connects to the port, once QEMU listens.
    pub(crate) async fn stream(&mut self) -> UnixStream {
        loop {
            if let Ok(stream) = UnixStream::connect(self.socket()).await {
                return stream;
            }
            let ended = self.machine.as_mut().unwrap().has_ended().unwrap();
            assert!(!ended, "the machine ended: {}", self.console());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn connect(&mut self) -> Agent {
        let options =
            LinkOptions { connect: LIMIT, call: LIMIT, ping_patience: LIMIT, ..LinkOptions::default() };
        // QEMU listens from now on.
        drop(self.stream().await);
        match Agent::reach(|| UnixStream::connect(self.socket()), options).await {
            Ok(agent) => agent,
            Err(why) => panic!("{why}\n{}", self.console()),
        }
    }

    /// What makes it a seat.
    pub(crate) fn config(&self) -> GuestConfig {
        let mut config =
            GuestConfig::new("rust-101/7", "seat-7", "0123456789abcdef".repeat(2), self.run.clone());
        config.workspace = Some(Workspace { path: "/workspace".parse().unwrap() });
        config.entropy = vec![7; 64].into();
        config.limits.pids = Some(100);
        config.hosts =
            vec![HostsEntry { address: [10, 0, 0, 1].into(), names: vec!["gw".into(), "host".into()] }];
        config.resolver = Some(Resolver {
            nameservers: vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
            search: vec!["a.test".into(), "b.test".into()],
            options: vec!["ndots:1".into()],
        });
        config
    }

    /// Configures it and waits until this holds of its health.
    pub(crate) async fn configured(&mut self, until: impl Fn(&Health) -> bool) -> (Agent, Health) {
        let agent = self.connect().await;
        agent.configure(&self.config()).await.unwrap();
        let health = self.wait(&agent, until).await;
        (agent, health)
    }

    /// Waits until this holds of its health.
    pub(crate) async fn wait(&self, agent: &Agent, until: impl Fn(&Health) -> bool) -> Health {
        let mut watch = agent.watch().await.unwrap();
        let waiting = async {
            loop {
                match watch.next().await {
                    Ok(Some(health)) if until(&health) => return health,
                    Ok(Some(_)) => {}
                    other => panic!("{other:?}\n{}", self.console()),
                }
            }
        };
        match tokio::time::timeout(LIMIT, waiting).await {
            Ok(health) => health,
            Err(_) => panic!("{:?}\n{}", agent.health().await, self.console()),
        }
    }

    pub(crate) fn console(&self) -> String {
        self.machine.as_ref().map(|machine| machine.console().tail()).unwrap_or_default()
    }

    /// Waits until its machine has ended by itself; what it said.
    pub(crate) async fn ended(&mut self) -> String {
        let machine = self.machine.take().unwrap();
        let waiting = tokio::task::spawn_blocking(move || machine.wait(LIMIT));
        waiting.await.unwrap().unwrap_or_else(|why| panic!("{why}")).text().to_owned()
    }
}
