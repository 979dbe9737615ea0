//! A host that does what a test says: every step can fail or never end, before or after it had its effect.
//!
//! What a kernel would have is in [`World`], which outlives the providers over it, as a kernel outlives a service that is killed.

mod guest;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hostnet::PortState;
use ipnet::Ipv4Net;
use seats::{ObjectKind, SeatRef, WorkshopId};
use tokio::sync::Notify;

pub(crate) use self::machine::ScriptedMachine;
use super::{BootFiles, Edges, Found, Host, NetError, Network, Place, Port, WorkshopNet};
use crate::records::Wiring;
use crate::vmm::Drive;

/// A scripted host.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Told when a step was reached that never ends.
    stuck: Notify,
    /// Told when a bridge was made.
    news: Notify,
}

/// What a kernel has.
pub(crate) struct State {
    pub(crate) bridges: BTreeMap<String, Option<WorkshopId>>,
    pub(crate) taps: BTreeMap<String, Option<SeatRef>>,
    /// Devices that the packet filter knows, with the address that each may use.
    pub(crate) guarded: BTreeMap<String, Ipv4Addr>,
    /// Bridges for whose way out it was seen to.
    pub(crate) reaching: BTreeSet<String>,
    /// How often somebody heard of news.
    pub(crate) heard: usize,
    /// Devices that were deleted under a VM, which holds on to what is gone.
    pub(crate) unplugged: BTreeSet<String>,
    /// VMs that were started, by their folder.
    pub(crate) machines: BTreeMap<PathBuf, Arc<ScriptedMachine>>,
    /// What was done, in order.
    pub(crate) steps: Vec<String>,
    pub(crate) fault: Option<Fault>,
    /// What somebody else does on the host meanwhile, when a step of this name is reached for the first time.
    pub(crate) meanwhile: Option<Meanwhile>,
    /// Steps that fail each time, without effect.
    pub(crate) broken: BTreeSet<String>,
    pub(crate) memory_mib: u64,
    pub(crate) free_bytes: u64,
    pub(crate) boot_id: String,
    /// Users that have a process of somebody else.
    pub(crate) users: BTreeSet<u32>,
    /// Users who get one right before a VM of theirs starts.
    pub(crate) latecomers: BTreeSet<u32>,
    /// Whether new guests have an agent that answers.
    pub(crate) deaf: bool,
    /// What guests do that go on from a snapshot.
    pub(crate) restored: GoingOn,
    /// Whether new workspaces listen.
    pub(crate) mute: bool,
    /// How many of the next guests that boot come up without a timer.
    pub(crate) timerless: usize,
    /// How long it takes to write a guest down.
    pub(crate) saving_takes: Duration,
    /// The disks of the last guest that was booted to be saved.
    pub(crate) saved_drives: Vec<Drive>,
    started: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            bridges: BTreeMap::new(),
            taps: BTreeMap::new(),
            guarded: BTreeMap::new(),
            reaching: BTreeSet::new(),
            heard: 0,
            unplugged: BTreeSet::new(),
            machines: BTreeMap::new(),
            steps: Vec::new(),
            fault: None,
            meanwhile: None,
            broken: BTreeSet::new(),
            memory_mib: 16_384,
            free_bytes: 100 << 30,
            boot_id: "boot-1".into(),
            users: BTreeSet::new(),
            latecomers: BTreeSet::new(),
            deaf: false,
            restored: GoingOn::Well,
            mute: false,
            timerless: 0,
            saving_takes: Duration::ZERO,
            saved_drives: Vec::new(),
            started: 0,
        }
    }
}

/// The name of a step, and what somebody does then.
pub(crate) type Meanwhile = (&'static str, Box<dyn FnOnce() + Send>);

/// What a guest does that goes on from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoingOn {
    Well,
    /// Its agent does not answer.
    Deaf,
    /// It ends.
    Ends,
    /// Its agent is lost when it is told what it is to be.
    Lost,
}

/// What happens at a step, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It fails and has no effect.
    FailsBefore,
    /// It has its effect and fails.
    FailsAfter,
    /// It never ends and has no effect.
    HangsBefore,
    /// It has its effect and never ends.
    HangsAfter,
}

impl World {
    pub(crate) fn edges(&self) -> Edges {
        Edges {
            network: Arc::new(self.clone()),
            machines: Arc::new(self.clone()),
            host: Arc::new(self.clone()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody deletes the device of a seat that runs.
    pub(crate) fn unplug(&self, seat: &SeatRef) {
        let tap = Network::tap(self, seat);
        let mut state = self.state();
        state.taps.remove(&tap);
        state.unplugged.insert(tap);
    }

    /// From now on, counted anew.
    pub(crate) fn script(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.steps.clear();
        state.fault = fault;
    }

    /// Waits until a step was reached that never ends.
    pub(crate) async fn stuck(&self) {
        self.0.stuck.notified().await;
    }

    /// All objects that there are, for a leak check.
    pub(crate) fn objects(&self) -> Vec<String> {
        let state = self.state();
        let bridges = state.bridges.keys().map(|name| format!("bridge {name}"));
        let taps = state.taps.keys().map(|name| format!("tap {name}"));
        let alive = state.machines.iter().filter(|(_, machine)| machine.runs());
        bridges.chain(taps).chain(alive.map(|(folder, _)| format!("vm {}", folder.display()))).collect()
    }

    pub(crate) fn machine(&self, folder: &Path) -> Option<Arc<ScriptedMachine>> {
        self.state().machines.get(folder).cloned()
    }

    /// The host goes down and comes up again: nothing of the kernel is left.
    pub(crate) fn reboot(&self) {
        let mut state = self.state();
        state.bridges.clear();
        state.taps.clear();
        state.guarded.clear();
        for machine in std::mem::take(&mut state.machines).into_values() {
            machine.vanish();
        }
        state.boot_id.push('+');
    }

    /// One step: counted, and scripted to go wrong.
    async fn step<T, E>(
        &self,
        name: String,
        error: impl FnOnce(String) -> E,
        effect: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let what = {
            let mut state = self.state();
            let number = state.steps.len();
            state.steps.push(name.clone());
            if let Some((_, happens)) = state.meanwhile.take_if(|(at, _)| *at == name) {
                happens();
            }
            match state.fault.filter(|fault| fault.at == number) {
                _ if state.broken.contains(&name) => Some(What::FailsBefore),
                fault => fault.map(|fault| fault.what),
            }
        };
        let done = match what {
            Some(What::FailsBefore | What::HangsBefore) => None,
            _ => Some(effect(&mut self.state())),
        };
        match (what, done) {
            (Some(What::HangsBefore | What::HangsAfter), _) => {
                self.0.stuck.notify_one();
                std::future::pending().await
            }
            (None, Some(done)) => done,
            (Some(What::FailsBefore | What::FailsAfter), _) | (_, None) => {
                Err(error(format!("{name} failed on purpose")))
            }
        }
    }
}

fn bridge_of(net: &WorkshopNet) -> String {
    match &net.wiring {
        Wiring::Bridge { bridge, .. } => bridge.clone(),
        Wiring::Cni { cni_network } => panic!("no bridge in {cni_network}"),
    }
}

#[async_trait]
impl Network for World {
    fn bridge(&self, workshop: &WorkshopId) -> String {
        format!("ctb-{workshop}")
    }

    fn tap(&self, seat: &SeatRef) -> String {
        format!("ctt-{}-{}", seat.workshop, seat.seat)
    }

    fn operators(&self) -> Option<String> {
        None
    }

    async fn check(&self) -> Result<(), NetError> {
        Ok(())
    }

    async fn free_subnet(
        &self,
        pool: Ipv4Net,
        prefix: u8,
        recorded: &[Ipv4Net],
    ) -> Result<Ipv4Net, NetError> {
        let subnets = pool.subnets(prefix).map_err(|why| NetError::Failed(why.to_string()));
        self.step("free subnet".into(), NetError::Failed, |_| {
            subnets?
                .find(|subnet| !recorded.contains(subnet))
                .ok_or_else(|| NetError::Exhausted("the pool is used up".into()))
        })
        .await
    }

    async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, NetError> {
        Ok(self.state().guarded.values().copied().collect())
    }

    async fn ensure_workshop(&self, net: &WorkshopNet) -> Result<(), NetError> {
        let bridge = bridge_of(net);
        self.step(format!("ensure {bridge}"), NetError::Failed, |state| {
            if !state.bridges.contains_key(&bridge) {
                self.0.news.notify_one();
            }
            let owner = state.bridges.entry(bridge.clone()).or_insert_with(|| Some(net.workshop.clone()));
            match owner {
                Some(owner) if *owner == net.workshop => Ok(()),
                _ => Err(NetError::Foreign { kind: ObjectKind::Network, name: bridge }),
            }
        })
        .await
    }

    async fn ensure_port(&self, net: &WorkshopNet, port: &Port) -> Result<Place, NetError> {
        self.step(format!("ensure {}", port.tap), NetError::Failed, |state| {
            let owner = state.taps.entry(port.tap.clone()).or_insert_with(|| Some(port.seat.clone()));
            match owner {
                Some(owner) if *owner == port.seat => {
                    state.guarded.insert(port.tap.clone(), port.address);
                    Ok(net.place(port))
                }
                _ => Err(NetError::Foreign { kind: ObjectKind::Instance, name: port.tap.clone() }),
            }
        })
        .await
    }

    async fn port_state(&self, net: &WorkshopNet, port: &Port) -> Result<PortState, NetError> {
        let state = self.state();
        Ok(if state.unplugged.contains(&port.tap) || !state.taps.contains_key(&port.tap) {
            PortState::Unplugged
        } else if state.bridges.contains_key(&bridge_of(net)) {
            PortState::Whole
        } else {
            PortState::Loose
        })
    }

    async fn remove_port(&self, seat: &SeatRef) -> Result<(), NetError> {
        let tap = self.tap(seat);
        self.step(format!("remove {tap}"), NetError::Failed, |state| {
            if state.taps.get(&tap).is_some_and(Option::is_some) {
                state.taps.remove(&tap);
                state.guarded.remove(&tap);
            }
            Ok(())
        })
        .await
    }

    async fn remove_workshop(&self, workshop: &WorkshopId, _: Option<Ipv4Net>) -> Result<(), NetError> {
        let bridge = self.bridge(workshop);
        self.step(format!("remove {bridge}"), NetError::Failed, |state| {
            if state.bridges.get(&bridge).is_some_and(Option::is_some) {
                state.bridges.remove(&bridge);
            }
            Ok(())
        })
        .await
    }

    async fn survey(&self) -> Result<Vec<Found>, NetError> {
        let state = self.state();
        let bridges = state
            .bridges
            .iter()
            .filter_map(|(name, owner)| Some(Found::Bridge { name: name.clone(), workshop: owner.clone()? }));
        let taps = state
            .taps
            .iter()
            .filter_map(|(name, owner)| Some(Found::Tap { name: name.clone(), seat: owner.clone()? }));
        Ok(bridges.chain(taps).collect())
    }

    async fn guards(&self, seats: &[(WorkshopNet, Port)]) -> Result<bool, NetError> {
        let state = self.state();
        Ok(seats.iter().all(|(_, port)| state.guarded.get(&port.tap) == Some(&port.address)))
    }

    async fn refresh(&self) -> Result<(), NetError> {
        self.step("refresh".into(), NetError::Failed, |_| Ok(())).await
    }

    async fn keep_reaching(&self) -> Result<(), NetError> {
        let mut state = self.state();
        state.reaching = state.bridges.keys().cloned().collect();
        Ok(())
    }

    async fn news(&self) {
        self.0.news.notified().await;
        self.state().heard += 1;
    }
}

#[async_trait]
impl Host for World {
    fn memory_mib(&self) -> io::Result<u64> {
        Ok(self.state().memory_mib)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes)
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(self.state().boot_id.clone())
    }

    fn users_from(&self, first: u32) -> io::Result<BTreeSet<u32>> {
        Ok(self.state().users.range(first..).copied().collect())
    }

    fn nameservers(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn boot_files(&self) -> Result<BootFiles, String> {
        let kernel = PathBuf::from("/kernel");
        Ok(BootFiles { kernel, initramfs: "/initramfs".into(), version: "6.1".into() })
    }

    async fn answers(&self, address: Ipv4Addr, ports: &[u16]) -> Result<(), String> {
        let (machines, unplugged): (Vec<_>, _) = {
            let state = self.state();
            (state.machines.values().cloned().collect(), state.unplugged.clone())
        };
        let listens = machines.iter().any(|machine| machine.listens_at(address, &unplugged));
        if listens { Ok(()) } else { Err(format!("port {} does not answer (connection refused)", ports[0])) }
    }
}
