//! What all operations of one provider share.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use seats::{ProviderError, SeatRef, Stage};

use crate::edges::Edges;
use crate::golden::Goldens;
use crate::images::Images;
use crate::link::Patience;
use crate::live::Live;
use crate::locks::{Locks, Turn};
use crate::records::{SeatRecord, Unreadable};
use crate::starts::Starts;
use crate::state::StateDir;
use crate::vmm::VmmError;
use crate::{MicrovmConfig, fail};

/// One provider.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: MicrovmConfig,
    pub(crate) state: StateDir,
    pub(crate) edges: Edges,
    pub(crate) images: Images,
    pub(crate) locks: Locks,
    pub(crate) goldens: Goldens,
    pub(crate) starts: Starts,
    /// The VMs that are looked after. What is not here is found out again by asking.
    lives: Mutex<HashMap<SeatRef, Arc<Live>>>,
}

impl Core {
    pub(crate) fn new(config: MicrovmConfig, state: StateDir, edges: Edges, images: Images) -> Self {
        Self {
            config,
            state,
            edges,
            images,
            locks: Locks::default(),
            goldens: Goldens::default(),
            starts: Starts::default(),
            lives: Mutex::default(),
        }
    }

    /// The turn on a seat, among all that work on this state folder.
    pub(crate) async fn turn(&self, seat: &SeatRef) -> Result<Turn, ProviderError> {
        let turn = self.locks.turn(self.state.seat_lock(seat)).await;
        turn.map_err(fail::io(fail::seat(seat), Stage::Check, "waiting for a turn"))
    }

    pub(crate) fn record(&self, seat: &SeatRef) -> Result<Option<SeatRecord>, Unreadable> {
        SeatRecord::read(&self.state.seat(seat), seat)
    }

    /// Writes a seat's record anew.
    pub(crate) async fn write(&self, record: &SeatRecord, stage: Stage) -> Result<(), ProviderError> {
        let seat = record.of();
        let (folder, record) = (self.state.seat(&seat), record.clone());
        let written = blocking(move || record.write(&folder)).await;
        written.map_err(fail::io(fail::seat(&seat), stage, "writing the seat's record"))
    }

    /// What a monitor needs beside a guest's memory of so many MiB, in MiB.
    pub(crate) fn overhead_mib(&self, guest_mib: u32) -> u32 {
        self.config.overhead_mib.unwrap_or_else(|| self.edges.machines.overhead_mib(guest_mib))
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { connect: self.config.start_timeout, clock_every: self.config.clock_every }
    }

    /// Begins to look after a VM.
    pub(crate) fn keep(&self, record: &SeatRecord, machine: Arc<dyn crate::edges::Machine>) -> Arc<Live> {
        let seat = record.of();
        let live = Live::new(&seat.to_string(), &record.id, machine, self.patience());
        self.lives().insert(seat, live.clone());
        live
    }

    /// The VM of a seat that was started, if it runs.
    pub(crate) async fn live(&self, record: &SeatRecord) -> Result<Option<Arc<Live>>, VmmError> {
        let seat = record.of();
        let known = self.lives().get(&seat).filter(|live| live.id == record.id).cloned();
        if let Some(live) = known.filter(|live| live.machine.is_alive()) {
            return Ok(Some(live));
        }
        if self.went_with_its_host(record) {
            self.forget(&seat);
            return Ok(None);
        }
        let folder = self.state.seat(&seat).run();
        match self.edges.machines.adopt(&seat.to_string(), &folder).await? {
            Some(machine) => Ok(Some(self.keep(record, machine))),
            None => {
                self.forget(&seat);
                Ok(None)
            }
        }
    }

    /// Whether the host was restarted since a seat's VM was started. There is none then, whatever its folder says: what nobody had synced may be half there.
    pub(crate) fn went_with_its_host(&self, record: &SeatRecord) -> bool {
        self.edges.host.boot_id().is_ok_and(|now| now != record.host_boot)
    }

    pub(crate) fn forget(&self, seat: &SeatRef) {
        self.lives().remove(seat);
    }

    /// Forgets every seat that is not in a complete listing.
    pub(crate) fn keep_only(&self, exists: impl Fn(&SeatRef) -> bool) {
        self.lives().retain(|seat, _| exists(seat));
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, HashMap<SeatRef, Arc<Live>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on files, away from the threads that others wait for.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
