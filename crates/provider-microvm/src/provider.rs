//! The provider: seats as microVMs of this host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::client::Agent;
use seats::{
    Created, DataPolicy, Instance, Measurement, Provider, ProviderError, ProviderKind, Scope, SeatRef,
    SeatSpec, Stage, Survey, Timeline, WorkshopId,
};

use crate::config::UNJAILED;
use crate::core::Core;
use crate::edges::{CniNet, Edges, KernelNet, Machines, Network, RealMachines, ThisHost};
use crate::guard::Guard;
use crate::images::{EngineConnect, Images};
use crate::records::Phase;
use crate::starts::Starts;
use crate::state::{ServiceLock, StateDir};
use crate::vmm::{Firecracker, MonitorKind, Qemu, firecracker};
use crate::{ConfigError, MicrovmConfig, StateError, fail, tell};

/// Seats as microVMs of this host.
#[derive(Debug)]
pub struct MicrovmProvider {
    pub(crate) core: Arc<Core>,
    service: Mutex<Option<(ServiceLock, Option<Guard>)>>,
}

/// Why there is no provider.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store of images cannot be used.
    #[error(transparent)]
    Store(#[from] rootfs::store::StoreError),
    /// The host's network cannot be spoken to.
    #[error("the host's network cannot be used: {0}")]
    Network(String),
    /// The seats could not be looked at.
    #[error(transparent)]
    Recover(#[from] ProviderError),
}

impl MicrovmProvider {
    /// Makes a provider over this host. It takes nothing for itself yet: several may be made over one state folder, and
    /// bear each other. `engine` connects to a Docker engine for images, when there is one.
    ///
    /// # Errors
    /// When the configuration cannot be, or the state folder cannot be used.
    pub fn new(config: MicrovmConfig, engine: Option<EngineConnect>) -> Result<Arc<Self>, StartError> {
        config.check()?;
        let state = StateDir::open(&config.state_dir)?;
        let instance = state.instance().as_str().parse();
        let instance =
            instance.map_err(|why: hostnet::names::InvalidName| StartError::Network(why.to_string()))?;
        let network: Arc<dyn Network> = match config.cni_options(&instance, state.folder()) {
            Some(options) => {
                Arc::new(CniNet::new(options).map_err(|why| StartError::Network(why.to_string()))?)
            }
            None => Arc::new(KernelNet::new(config.network(instance), config.name_servers())),
        };
        let edges = Edges {
            network,
            machines: machines(&config),
            host: Arc::new(ThisHost::new(config.boot_folder())),
        };
        Self::over(config, state, edges, engine)
    }

    pub(crate) fn over(
        config: MicrovmConfig,
        state: StateDir,
        edges: Edges,
        engine: Option<EngineConnect>,
    ) -> Result<Arc<Self>, StartError> {
        let images = Images::new(&state, config.images.clone(), engine)?;
        let core = Arc::new(Core::new(config, state, edges, images));
        Ok(Arc::new(Self { core, service: Mutex::default() }))
    }

    /// The agent of a seat that runs, for what is no part of every provider's contract: terminals, logs, files. It is waited for
    /// for so long; the link is shared with the provider's own work.
    ///
    /// # Errors
    /// When the seat does not run, or its agent cannot be spoken to.
    pub async fn agent(&self, seat: &SeatRef, within: Duration) -> Result<Agent, ProviderError> {
        let no = |detail: &str| fail::failed(fail::seat(seat), Stage::Inspect, detail, None);
        let record = self.core.record(seat).map_err(|why| fail::unreadable(seat, &why))?;
        let record =
            record.filter(|record| record.phase == Phase::Started).ok_or_else(|| no("it does not run"))?;
        let live = self.core.live(&record).await.map_err(fail::vmm(seat, Stage::Inspect))?;
        let live = live.ok_or_else(|| no("its VM has ended"))?;
        let up = tokio::time::timeout(within, live.link.up()).await;
        let guest = up.map_err(|_| no("its agent cannot be spoken to"))?;
        guest.and_then(|guest| guest.agent()).ok_or_else(|| no("its VM has ended"))
    }

    /// How the guests of its seats came up: those that it started, and not those that it found.
    #[must_use]
    pub fn starts(&self) -> &Starts {
        &self.core.starts
    }

    /// Takes the state folder for this service and finds its seats again: adopts what lives, finishes what was half removed,
    /// takes back what was half made, and removes what has no record.
    ///
    /// # Errors
    /// [`StateError::Taken`] when another service runs over the folder. What is wrong with one seat is no error: it is
    /// logged, and told of that seat.
    pub async fn start(&self) -> Result<(), StartError> {
        if self.core.config.is_unjailed() {
            tracing::warn!("{UNJAILED}; name Firecracker's jailer by microvm.jailer");
        }
        let lock = self.core.state.lock()?;
        *self.service.lock().unwrap_or_else(PoisonError::into_inner) = Some((lock, None));
        let network = &self.core.edges.network;
        let unusable = |why: crate::edges::NetError| StartError::Network(why.to_string());
        network.check().await.map_err(unusable)?;
        self.core.demand_one_wiring().map_err(StartError::Network)?;
        let found = self.core.recover().await?;
        tracing::info!(?found, "the seats of this host were found again");
        if let Some((_, guard)) = &mut *self.service.lock().unwrap_or_else(PoisonError::into_inner) {
            *guard = Some(Guard::of(&self.core));
        }
        Ok(())
    }
}

/// What starts VMs, as it is configured.
fn machines(config: &MicrovmConfig) -> Arc<dyn Machines> {
    let accelerator = config.accelerator;
    match config.monitor {
        MonitorKind::Qemu => Arc::new(RealMachines::new(Qemu::new(config.qemu()), accelerator)),
        MonitorKind::Firecracker => {
            Arc::new(RealMachines::new(Firecracker::new(config.firecracker()), accelerator))
        }
    }
}

#[async_trait]
impl Provider for MicrovmProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Microvm
    }

    async fn prepare(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<(), ProviderError> {
        timeline.enter(Stage::Image);
        // A seat that is there already needs no image, and may well outlive it.
        if let Ok(Some(record)) = self.core.record(&spec.seat)
            && matches!(record.phase, Phase::Started | Phase::Starting)
        {
            return Ok(());
        }
        let (core, spec) = (self.core.clone(), spec.clone());
        let whom = fail::seat(&spec.seat);
        tell::apart(timeline, &whom, |tell| async move {
            core.images.ensure(&spec.image, &spec.seat, &tell).await.map(drop)
        })
        .await
    }

    async fn create(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError> {
        let (core, spec) = (self.core.clone(), spec.clone());
        let whom = fail::seat(&spec.seat);
        tell::apart(timeline, &whom, |tell| core.make_or_find(spec, tell)).await
    }

    async fn settle(&self, instance: &Instance, within: Duration) -> Result<Instance, ProviderError> {
        self.core.wait_until_settled(instance, within).await
    }

    async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        let (core, of) = (self.core.clone(), seat.clone());
        let whom = fail::seat(seat);
        tell::apart(&Timeline::default(), &whom, |_tell| core.remove_seat(of, data)).await
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, ProviderError> {
        let read = fail::io("this host", Stage::Check, "reading the seats' folders");
        let seats = self.core.state.seats(scope).map_err(read)?;
        if *scope == Scope::All {
            self.core.keep_only(|seat| seats.binary_search(seat).is_ok());
        }
        let seen = futures_util::future::join_all(seats.iter().map(|seat| self.core.seen(seat))).await;
        Ok(seen.into_iter().flatten().collect())
    }

    async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, ProviderError> {
        Ok(self.core.seen(seat).await)
    }

    async fn destroy_workshop(&self, workshop: &WorkshopId, data: DataPolicy) -> Result<(), ProviderError> {
        let (core, of) = (self.core.clone(), workshop.clone());
        let whom = fail::workshop(workshop);
        tell::apart(&Timeline::default(), &whom, |_tell| core.remove_workshop(of, data)).await
    }

    fn measurements(&self) -> Vec<Measurement> {
        let mut all: Vec<_> = self.core.starts.measurements().collect();
        all.extend(firecracker::measurements());
        all
    }

    async fn check(&self) -> Result<Survey, ProviderError> {
        let missing = |detail: String| ProviderError::Unavailable { provider: ProviderKind::Microvm, detail };
        let boot = self.core.edges.host.boot_files().map_err(missing)?;
        let summary = self.core.edges.machines.summary(&boot.kernel).await;
        let summary = summary.map_err(|why| missing(why.to_string()))?;
        Ok(Survey { summary: format!("{summary}, guests with Linux {}", boot.version) })
    }
}
