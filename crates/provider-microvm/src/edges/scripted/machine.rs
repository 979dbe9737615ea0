//! Scripted VMs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::client::{LinkError, LinkOptions};
use guest_protocol::{GuestConfig, Health, NO_TIMER, Phase};
use tokio::sync::watch;

use super::guest::ScriptedGuest;
use super::{GoingOn, World};
use crate::edges::{Guest, Machine, Machines};
use crate::vmm::{
    CgroupSpec, Drive, Exit, Expected, How, Identity, MonitorKind, ProcessId, RunFolder, Snapshot, Traits,
    VmSpec, VmmError, snapshot,
};

/// The step of a VM that goes on from a snapshot.
const RESTORE: &str = "restore";

/// A scripted VM with the agent in it.
pub(crate) struct ScriptedMachine {
    key: String,
    folder: PathBuf,
    tap: Option<String>,
    /// The disks that it was started with.
    pub(crate) drives: Vec<Drive>,
    world: World,
    end: watch::Sender<Option<How>>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) config: Mutex<Option<GuestConfig>>,
    /// How far its clock is behind, in milliseconds.
    pub(crate) behind_ms: Mutex<u64>,
    /// Whether its disk cannot be written to.
    pub(crate) stuck: AtomicBool,
    /// How many speak to its agent.
    pub(crate) links: AtomicUsize,
    /// Whether its agent hangs.
    deaf: watch::Sender<bool>,
    /// Whether its agent is lost when it is configured.
    pub(super) loses: bool,
    mute: bool,
}

impl std::fmt::Debug for ScriptedMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedMachine").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl ScriptedMachine {
    pub(crate) fn runs(&self) -> bool {
        self.end.borrow().is_none()
    }

    /// Ends it, as its keeper would write down.
    pub(crate) fn end(&self, how: How) {
        if self.runs() {
            let exit = Exit::plain(how);
            let text = serde_json::to_vec(&exit).unwrap();
            // The folder may be gone with the seat.
            drop(std::fs::write(self.folder.join("exit.json"), text));
            drop(std::fs::remove_file(self.folder.join("vmm.json")));
            self.end.send_replace(Some(how));
        }
    }

    /// It is gone with the host.
    pub(super) fn vanish(&self) {
        self.end.send_replace(Some(How::Unknown));
    }

    pub(super) fn listens_at(&self, address: Ipv4Addr, unplugged: &BTreeSet<String>) -> bool {
        let is_unplugged = self.tap.as_ref().is_some_and(|tap| unplugged.contains(tap));
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = config.as_ref().and_then(|config| config.network.as_ref());
        self.runs()
            && !self.mute
            && !self.stuck.load(Ordering::SeqCst)
            && !is_unplugged
            && is_there.is_some_and(|network| network.address == address)
    }

    /// Changes what the agent tells.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_modify(change);
    }

    /// From now on its agent hangs, or answers again.
    pub(crate) fn turn_deaf(&self, is_deaf: bool) {
        self.deaf.send_replace(is_deaf);
    }

    /// Waits until its agent answers, or does not.
    pub(super) async fn hears(&self, hears: bool) {
        let mut deaf = self.deaf.subscribe();
        // The sender is here.
        drop(deaf.wait_for(|is_deaf| *is_deaf != hears).await);
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    pub(super) async fn ended(&self) -> How {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|how| *how).unwrap_or(How::Unknown)
    }
}

/// What an agent says that nobody has spoken to yet.
fn waiting() -> Health {
    Health {
        generation: 1,
        version: "0".into(),
        kernel: String::new(),
        boot_id: String::new(),
        uptime_ms: 0,
        clock_unix_ms: 0,
        phase: Phase::Waiting,
        reason: None,
        workload: guest_protocol::Workload::default(),
    }
}

#[async_trait]
impl Machines for World {
    fn expect(&self) -> Expected {
        Expected::nothing()
    }

    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError> {
        let machine = self.begin("start", spec).await?;
        self.boot(spec, &machine);
        Ok(machine)
    }

    async fn snapshot_name(&self, spec: &VmSpec, image: &str) -> Result<String, VmmError> {
        Ok(traits(spec, image).name())
    }

    async fn save(&self, spec: &VmSpec, image: &str, folder: &Path, _: Duration) -> Result<(), VmmError> {
        let machine = self.begin("boot to save", spec).await?;
        self.boot(spec, &machine);
        self.state().saved_drives.clone_from(&machine.drives);
        if !machine.runs() {
            let exit = Box::new(machine.exited().await?);
            return Err(VmmError::Ended { seat: spec.seat.clone(), exit });
        }
        let takes = self.state().saving_takes;
        tokio::time::sleep(takes).await;
        let refused = |why| VmmError::Snapshot { seat: spec.seat.clone(), why };
        let unfinished = snapshot::write(folder).map_err(refused)?;
        self.clear(&spec.seat, &spec.folder).await?;
        unfinished.finish(&snapshot::Memory::empty(1).unwrap(), traits(spec, image)).map_err(refused)
    }

    async fn restore(
        &self,
        spec: &VmSpec,
        image: &str,
        from: &Snapshot,
    ) -> Result<Arc<dyn Machine>, VmmError> {
        let refused = |why| VmmError::Snapshot { seat: spec.seat.clone(), why };
        from.fits(&traits(spec, image)).map_err(refused)?;
        let machine = self.begin(RESTORE, spec).await?;
        if self.state().restored == GoingOn::Ends {
            machine.end(How::Signal(11));
        }
        Ok(machine)
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError> {
        let why = |why: std::io::Error| VmmError::Launch { seat: seat.to_owned(), why: why.to_string() };
        folder.identity().map_err(why)?;
        let found = self.machine(folder.path()).filter(|machine| machine.runs());
        Ok(found.map(|machine| machine as Arc<dyn Machine>))
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        let why = |why| VmmError::Launch { seat: seat.to_owned(), why };
        self.step("clear".into(), why, |state| {
            if let Some(machine) = state.machines.remove(folder.path()) {
                machine.end(How::Signal(9));
            }
            Ok(())
        })
        .await
    }

    fn files_of_memory(&self) -> u32 {
        2
    }

    fn overhead_mib(&self, _guest_mib: u32) -> u32 {
        192
    }

    async fn summary(&self, _kernel: &Path) -> Result<String, VmmError> {
        Ok("a scripted host".into())
    }
}

/// A snapshot of a VM here, whose memory is small.
fn traits(spec: &VmSpec, image: &str) -> Traits {
    Traits {
        monitor: MonitorKind::Qemu,
        version: "0".into(),
        program: String::new(),
        processor: String::new(),
        kernel: spec.kernel.display().to_string(),
        initramfs: String::new(),
        image: image.into(),
        vcpus: spec.vcpus,
        memory_mib: 1,
        drives: Vec::new(),
        machine: Vec::new(),
    }
}

impl World {
    /// What its guest does before its agent waits.
    fn boot(&self, spec: &VmSpec, machine: &ScriptedMachine) {
        let mut state = self.state();
        if state.timerless > 0 {
            state.timerless -= 1;
            let said = format!(
                "clarateach-agent: {NO_TIMER}: on purpose; the machine ends\r\n[    2.345678] reboot: Restarting system\r\n"
            );
            std::fs::write(&spec.console.path, said).unwrap();
            machine.end(How::Code(0));
        }
    }

    async fn begin(&self, step: &str, spec: &VmSpec) -> Result<Arc<ScriptedMachine>, VmmError> {
        let folder = spec.folder.path().to_owned();
        let why = |why| VmmError::Launch { seat: spec.seat.clone(), why };
        self.step(step.into(), why, |state| {
            if state.machines.get(&folder).is_some_and(|there| there.runs()) {
                return Err(VmmError::Busy { seat: spec.seat.clone(), folder: folder.clone() });
            }
            if let Some(uid) = spec.user.map(|user| user.uid)
                && state.latecomers.remove(&uid)
            {
                state.users.insert(uid);
                let why = format!("user {uid} has a process already, 1: on purpose");
                return Err(VmmError::UserTaken { seat: spec.seat.clone(), why });
            }
            for drive in &spec.drives {
                assert!(drive.path.exists(), "{} is not there", drive.path.display());
            }
            assert!(spec.nics.iter().all(|nic| state.taps.contains_key(nic.tap.as_str())));
            std::fs::create_dir_all(&folder).unwrap();
            let tap = spec.nics.first().map(|nic| nic.tap.as_str().to_owned());
            if let Some(tap) = &tap {
                state.unplugged.remove(tap);
            }
            state.started += 1;
            let goes_on = if step == RESTORE { state.restored } else { GoingOn::Well };
            // As its keeper would write down.
            let process = ProcessId { pid: i32::MAX, start_time: state.started };
            let identity = Identity {
                schema: 1,
                seat: spec.seat.clone(),
                monitor: MonitorKind::Qemu,
                boot_id: state.boot_id.clone(),
                vmm: process,
                keeper: process,
                user: spec.user,
                cgroup: spec.cgroup.as_ref().map(|cgroup| (cgroup.parent.clone(), cgroup.name.clone())),
                memory_mib: spec.cgroup.as_ref().map(CgroupSpec::memory_mib),
                jail: None,
            };
            std::fs::write(folder.join("vmm.json"), serde_json::to_vec(&identity).unwrap()).unwrap();
            let machine = Arc::new(ScriptedMachine {
                key: format!("{}#{}", folder.display(), state.started),
                folder: folder.clone(),
                tap,
                drives: spec.drives.clone(),
                world: self.clone(),
                end: watch::channel(None).0,
                health: watch::channel(waiting()).0,
                config: Mutex::default(),
                behind_ms: Mutex::default(),
                stuck: AtomicBool::new(false),
                links: AtomicUsize::new(0),
                deaf: watch::channel(state.deaf || goes_on == GoingOn::Deaf).0,
                loses: goes_on == GoingOn::Lost,
                mute: state.mute,
            });
            state.machines.insert(folder.clone(), machine.clone());
            Ok(machine)
        })
        .await
    }
}

#[async_trait]
impl Machine for ScriptedMachine {
    fn key(&self) -> String {
        self.key.clone()
    }

    fn is_alive(&self) -> bool {
        self.runs()
    }

    async fn exited(&self) -> Result<Exit, VmmError> {
        let how = self.ended().await;
        Ok(Exit::plain(how))
    }

    async fn unstick(&self) -> Result<bool, VmmError> {
        Ok(self.stuck.load(Ordering::SeqCst))
    }

    async fn guest(&self, options: LinkOptions) -> Result<Arc<dyn Guest>, LinkError> {
        if tokio::time::timeout(options.connect, self.hears(true)).await.is_err() {
            return Err(LinkError::Silent(options.connect));
        }
        let machine =
            self.world.machine(&self.folder).filter(|machine| machine.key == self.key && machine.runs());
        let machine = machine.ok_or(LinkError::Ended("the VM is gone".into()))?;
        assert_eq!(machine.links.fetch_add(1, Ordering::SeqCst), 0, "two speak to one agent");
        Ok(Arc::new(ScriptedGuest(machine)))
    }
}
