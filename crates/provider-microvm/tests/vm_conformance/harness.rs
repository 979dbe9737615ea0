//! What the suite needs to know of microVM seats.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use conformance::{Harness, Inventory, Stop, TestImage};
use guest_protocol::ExecRequest;
use guest_protocol::client::Agent;
use provider_microvm::vmm::MonitorKind;
use provider_microvm::{MicrovmProvider, SnapshotUse, Starts, Way};
use seats::{ImageRef, Instance, Limits, ObjectKind, Provider, SeatRef, Status, WorkshopId};
use vm_testbed::BootError;

use crate::host::{Host, START_TIMEOUT};
use crate::sight::{FOREIGN, run};

pub(crate) struct OnMicrovms {
    host: Arc<Host>,
    /// What seats run that are to run.
    good: Image,
    /// Through which the harness speaks to agents: a monitor lets one process do that.
    own: Arc<MicrovmProvider>,
    /// How seats came up that were made by any of the providers that were handed out.
    starts: Mutex<Vec<Starts>>,
}

/// An image whose seats answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    /// As small as can be.
    Testbed,
    /// The reference workspace image.
    Workspace,
}

const MARKER: &str = "/workspace/marker";

fn fail(error: impl std::fmt::Display) -> Stop {
    Stop::fail(format!("{error:#}"))
}

impl OnMicrovms {
    /// For this check, over seats of the reference image where it was named.
    pub(crate) fn new(check: &str, snapshot: SnapshotUse) -> Result<Self, Stop> {
        let mut host = Host::new().map_err(fail)?;
        host.config.snapshot = snapshot;
        if check == "a_mute_image_becomes_an_error" {
            // To the end, so only as long as guests need: those in a guest need longer.
            host.config.start_timeout /= if host.config.monitor == MonitorKind::Qemu { 4 } else { 2 };
        }
        let good = match vm_testbed::workspace() {
            Ok(archive) => {
                host.config.images.archives.push(archive);
                Image::Workspace
            }
            Err(BootError::Missing(_)) => Image::Testbed,
            Err(why) => return Err(fail(why)),
        };
        let host = Arc::new(host);
        let own = host.provider();
        Ok(Self { host, good, own, starts: Mutex::default() })
    }

    async fn agent(&self, seat: &SeatRef) -> Result<Agent, Stop> {
        self.own.agent(seat, START_TIMEOUT).await.map_err(fail)
    }

    /// A check that passes over seats of the other kind proves nothing of this one: none of its seats may have come up in another way than it should.
    fn came_up_as_wished(&self) -> Result<(), Stop> {
        let unwished: &[Way] = match self.host.config.snapshot {
            SnapshotUse::Auto => &[Way::Booted, Way::BootedInstead],
            SnapshotUse::Off => &[Way::Restored, Way::BootedInstead],
        };
        let starts = self.starts.lock().unwrap();
        for &way in unwished {
            let seats: u64 = starts.iter().map(|starts| starts.of(way)).sum();
            if seats > 0 {
                return Err(Stop::fail(format!(
                    "{seats} seats came up in another way than they should: {way:?}"
                )));
            }
        }
        Ok(())
    }

    async fn exec(&self, seat: &SeatRef, argv: &[&str]) -> Result<String, Stop> {
        let request = ExecRequest::new(argv.iter().copied());
        let result = self.agent(seat).await?.run(&request, b"", 1 << 20).await.map_err(fail)?;
        Ok(String::from_utf8_lossy(&result.out).into_owned())
    }

    fn name(&self, kind: ObjectKind, seat: &SeatRef) -> Result<String, Stop> {
        let instance = self.host.instance().map_err(fail)?;
        Ok(match kind {
            ObjectKind::Instance => self.host.seat_folder(seat).join("notes.txt").display().to_string(),
            ObjectKind::Volume => self.host.seat_folder(seat).join("data.img").display().to_string(),
            ObjectKind::Network => instance.bridge(&seat.workshop).to_string(),
        })
    }
}

#[async_trait]
impl Harness for OnMicrovms {
    fn provider(&self) -> Arc<dyn Provider> {
        let provider = self.host.provider();
        self.starts.lock().unwrap().push(provider.starts().clone());
        provider
    }

    /// Every check ends with it, so this is where it is seen how its seats came up.
    async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop> {
        self.came_up_as_wished()?;
        self.host.inventory(workshop).map_err(fail)
    }

    fn image(&self, kind: TestImage) -> Result<ImageRef, Stop> {
        let tag = match kind {
            TestImage::Good if self.good == Image::Workspace => return Ok(vm_testbed::WORKSPACE.parse()?),
            TestImage::Good => "latest",
            TestImage::Other => "other",
            TestImage::Slow => "slow",
            TestImage::ExitsAtOnce => "exits",
            TestImage::Mute => "mute",
            TestImage::Stubborn => "stubborn",
            TestImage::Missing => return Ok("localhost:9/missing:1".parse()?),
        };
        Ok(format!("{}:{tag}", vm_testbed::IMAGE).parse()?)
    }

    async fn write_marker(&self, seat: &SeatRef, content: &str) -> Result<(), Stop> {
        let script = format!("printf %s '{content}' > {MARKER}");
        self.exec(seat, &["/bin/sh", "-c", &script]).await.map(drop)
    }

    async fn read_marker(&self, seat: &SeatRef) -> Result<Option<String>, Stop> {
        let script = format!("if [ -e {MARKER} ]; then echo \"+$(cat {MARKER})\"; else echo -; fi");
        let said = self.exec(seat, &["/bin/sh", "-c", &script]).await?;
        Ok(said.trim_end().strip_prefix('+').map(str::to_owned))
    }

    async fn plant_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        let name = self.name(kind, seat)?;
        if kind == ObjectKind::Network {
            return run("ip", &["link", "add", &name, "type", "bridge"]).map(drop).map_err(fail);
        }
        fs::create_dir_all(self.host.seat_folder(seat))?;
        fs::write(name, FOREIGN)?;
        Ok(())
    }

    async fn foreign_is_untouched(&self, kind: ObjectKind, seat: &SeatRef) -> Result<bool, Stop> {
        let name = self.name(kind, seat)?;
        if kind == ObjectKind::Network {
            // Without our alias, and not even brought up.
            let line = run("ip", &["-o", "link", "show", &name]);
            return Ok(line.is_ok_and(|line| !line.contains("alias") && !line.contains("UP")));
        }
        Ok(fs::read_to_string(name).is_ok_and(|text| text == FOREIGN))
    }

    async fn remove_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        // By now the name may be the seat's own.
        if !self.foreign_is_untouched(kind, seat).await? {
            return Ok(());
        }
        let name = self.name(kind, seat)?;
        if kind == ObjectKind::Network {
            return run("ip", &["link", "del", &name]).map(drop).map_err(fail);
        }
        fs::remove_file(name)?;
        fs::remove_dir(self.host.seat_folder(seat))?;
        Ok(())
    }

    async fn secrets_surface(&self, seat: &SeatRef) -> Result<String, Stop> {
        let mut text = self.host.surface().map_err(fail)?;
        // Of a seat that is gone there is nothing to ask.
        if self.host.monitor_pid(seat).is_ok() {
            text.push_str(&self.exec(seat, &["/bin/cat", "/proc/cmdline"]).await?);
        }
        Ok(text)
    }

    async fn stop(&self, seat: &SeatRef) -> Result<(), Stop> {
        self.agent(seat).await?.stop(Duration::from_secs(10)).await.map_err(fail)?;
        let folder = provider_microvm::vmm::RunFolder::new(self.host.seat_folder(seat).join("run"));
        let ended = async {
            while folder.exit().ok().flatten().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, ended).await.map_err(|_| Stop::fail("the seat is not off"))
    }

    async fn environment(&self, seat: &SeatRef) -> Result<BTreeMap<String, String>, Stop> {
        // As the workspace has it, not as the agent was told.
        let health = self.agent(seat).await?.health().await.map_err(fail)?;
        let pid = health.workload.pid.ok_or_else(|| Stop::fail("the workspace does not run"))?;
        let said = self.exec(seat, &["/bin/cat", &format!("/proc/{pid}/environ")]).await?;
        let variables = said.split('\0').filter_map(|variable| variable.split_once('='));
        Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    async fn limits(&self, seat: &SeatRef) -> Result<Limits, Stop> {
        let memory_mib = self.host.memory_mib(seat).map_err(fail)?;
        let pid = self.host.monitor_pid(seat).map_err(fail)?.into();
        let cpu_millis = crate::sight::cpu_millis(pid).map_err(fail)?;
        // The check does not wait for the guest, and the bound on processes is the guest's own.
        let provider = self.host.provider();
        let starts = |found: Option<Instance>| found.is_some_and(|seat| seat.status == Status::Starting);
        while starts(provider.get(seat).await.map_err(fail)?) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let pids = self.exec(seat, &["/bin/sh", "-c", "cat /sys/fs/cgroup/*/pids.max"]).await?;
        let pids = pids.lines().find_map(|line| line.trim().parse().ok());
        let pids = pids.ok_or_else(|| Stop::fail("the guest tells no bound of processes"))?;
        Ok(Limits { cpu_millis, memory_mib, pids })
    }

    async fn can_connect(&self, from: &SeatRef, to: SocketAddr) -> Result<bool, Stop> {
        let (ip, port) = (to.ip(), to.port());
        let connect = match self.good {
            Image::Testbed => format!("nc -w 5 {ip} {port} </dev/null"),
            // It has no such program, and a shell that can do it itself.
            Image::Workspace => format!("timeout 5 bash -c ': </dev/tcp/{ip}/{port}'"),
        };
        let script = format!("{connect} >/dev/null 2>&1 && echo yes || echo no");
        Ok(self.exec(from, &["/bin/sh", "-c", &script]).await?.trim() == "yes")
    }

    fn start_timeout(&self) -> Duration {
        self.host.config.start_timeout
    }

    fn small(&self) -> Limits {
        let memory_mib = match self.good {
            Image::Testbed => 128,
            Image::Workspace => 256,
        };
        Limits { cpu_millis: 1000, memory_mib, pids: 64 }
    }

    fn class_size(&self) -> u16 {
        4
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2400)
    }
}
