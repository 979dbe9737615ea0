//! Seats that go on from a snapshot instead of booting.
//!
//! ```text
//!   the snapshot for this VM ──► open already ──► on the disk ──► made: the seat's own VM is booted until its agent waits,
//!             │                        └──────────────┴──────────── saved and ended, in the seat's own folder
//!             ├── whole, and fits ──► the seat's VM goes on from it, and is configured as one that has booted
//!             │                             └── its agent is silent, or it ends ─┐
//!             └── anything fails ────────────────────────────────────────────────┴──► the seat's VM is booted, and why is told
//! ```
//!
//! A snapshot is called after all that it depends on, so one of another kernel, size or version of the monitor is never even looked at. It is made by the
//! first seat that could use it, while the others wait for that; it has nothing of that seat in it, since a guest knows nothing before it is configured, and its disks are
//! nobody's ([`nobody`]).
//! What belongs to the making, the record of the seat names: a service that is killed in the middle leaves nothing else than one that is killed while a seat boots, but for
//! a folder that is not finished and has another name.
//!
//! An open snapshot takes as much of the host's memory as one guest has, which is counted as promised for as long as this service has it open or a seat goes on from it, which
//! the seat's record says; the seats' own memory is counted in full, since it may all become their own. The last four that were opened are kept, on the disk and in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seats::{ProviderError, SeatRef, Stage};

use crate::core::{Core, blocking};
use crate::edges::Machine;
use crate::images::Ready;
use crate::records::Restored;
use crate::tell::Tell;
use crate::vmm::{STARTED, Snapshot, SnapshotError, VmSpec, VmmError};
use crate::{SnapshotUse, fail};

mod known;
mod make;
pub(crate) mod nobody;

pub(crate) use known::Goldens;
use known::State;

/// Why a seat is booted.
#[derive(Debug, thiserror::Error)]
enum NoGolden {
    #[error(transparent)]
    Vmm(#[from] VmmError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the guest came up without a timer, twice: the host has too much to do")]
    NoTimer,
    #[error("{0}")]
    Before(Arc<str>),
    #[error("it cannot be waited for: {0}")]
    Turn(std::io::Error),
    #[error("reading the records: {0}")]
    Books(std::io::Error),
    #[error("a snapshot needs {needs} MiB of the host's memory, and {left} MiB are not promised to anybody")]
    Memory { needs: u32, left: u64 },
    #[error("making or removing the disks of a guest that is nobody's: {0}")]
    Nobodys(std::io::Error),
    #[error("looking for room for a snapshot: {0}")]
    Room(std::io::Error),
    #[error(
        "making a snapshot takes up to {takes} MiB of the disk, and {free} MiB are free, of which microvm.least_free_mib keeps {least}"
    )]
    Disk { takes: u64, free: u64, least: u32 },
}

impl NoGolden {
    /// Whether the next seat may find it otherwise, and waits for nothing to find out.
    fn is_found_out_at_once(&self) -> bool {
        matches!(
            self,
            Self::Vmm(VmmError::UserTaken { .. })
                | Self::Memory { .. }
                | Self::Disk { .. }
                | Self::Room(_)
                | Self::Books(_)
                | Self::Turn(_)
        )
    }
}

impl Core {
    /// Starts the VM of a seat, from a snapshot where that can be; tells which way it came up. `why_not` is why it is to be booted, when it is.
    pub(crate) async fn start_machine(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        ready: &Ready,
        tell: &Tell,
        mut why_not: Option<String>,
    ) -> Result<(Arc<dyn Machine>, Option<(Restored, Arc<Snapshot>)>), ProviderError> {
        if self.config.snapshot == SnapshotUse::Auto && why_not.is_none() {
            match self.go_on(seat, vm, &ready.entry().to_string(), tell).await {
                Ok((machine, from)) => {
                    tracing::info!(%seat, snapshot = from.0.snapshot, "the seat goes on from a snapshot");
                    return Ok((machine, Some(from)));
                }
                // That is no fault of the snapshot's, and would be in the way of a boot too.
                Err(NoGolden::Vmm(why @ VmmError::UserTaken { .. })) => {
                    return Err(fail::vmm(seat, Stage::Restore)(why));
                }
                Err(why) => {
                    tracing::warn!(%seat, %why, "the seat is booted, and not restored from a snapshot");
                    // What the making of one may have left in the folder.
                    self.clear(seat).await?;
                    why_not = Some(why.to_string());
                }
            }
        }
        tell.stage(Stage::Create);
        let machine = match self.edges.machines.start(vm).await {
            Ok(machine) => machine,
            Err(why) => return Err(self.not_started(seat, why).await),
        };
        tell.stage(Stage::Start);
        if let Some(why) = why_not {
            tell.note(format!("booted: {why}"));
        }
        Ok((machine, None))
    }

    /// Why a VM was not started. What its monitor wrote where the guest's console goes is told too: Firecracker does so when it gives up, and the log goes with the seat.
    async fn not_started(&self, seat: &SeatRef, why: VmmError) -> ProviderError {
        let said = if matches!(why, VmmError::Ended { .. }) { self.last_line(seat).await } else { None };
        match (fail::vmm(seat, Stage::Create)(why), said) {
            (ProviderError::Failed { for_whom, stage, detail, source }, Some(line)) => {
                let detail = format!("{detail}; its console says last: {line}");
                ProviderError::Failed { for_whom, stage, detail, source }
            }
            (why, _) => why,
        }
    }

    /// Notes that a seat could not go on from a snapshot. By the second one in a row it is no good, or so it seems: the next ones are not to find that out, too, and
    /// another one is made after a while. The first may have had a reason of its own.
    pub(crate) async fn refuse_snapshot(&self, name: &str, why: &str) {
        if !self.goldens.is_refused_again(name) {
            return;
        }
        self.goldens.set(name, State::Failed(why.into(), Instant::now()));
        let folder = self.state.snapshots().join(name);
        if let Err(why) = blocking(move || remove(&folder)).await {
            tracing::warn!(snapshot = name, %why, "a snapshot that is no good cannot be removed");
        }
    }

    async fn go_on(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<(Arc<dyn Machine>, (Restored, Arc<Snapshot>)), NoGolden> {
        // Told also when it comes to nothing at once.
        tell.stage(Stage::Restore);
        let name = self.edges.machines.snapshot_name(vm, image).await?;
        let golden = self.golden(seat, &name, vm, image, tell).await?;
        let restored = self.edges.machines.restore(vm, image, &golden).await;
        if let Err(why) = &restored
            && is_of_the_snapshot(why)
        {
            self.refuse_snapshot(&name, &why.to_string()).await;
        }
        let (opening, memory_mib) = (golden.opening().to_owned(), golden.traits().memory_mib);
        Ok((restored?, (Restored { snapshot: name, opening, memory_mib }, golden)))
    }

    /// The snapshot of this name: the one that is open, or on the disk, or a new one.
    async fn golden(
        &self,
        seat: &SeatRef,
        name: &str,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<Arc<Snapshot>, NoGolden> {
        if let Some(known) = self.goldens.known(name) {
            return known;
        }
        tell.stage(Stage::Snapshot);
        let _turn = self.locks.turn(self.state.snapshot_lock(name)).await.map_err(NoGolden::Turn)?;
        // Whoever had the turn before has made it, or could not.
        let golden = match self.goldens.known(name) {
            Some(known) => known,
            None => {
                // Until it is told how it is, its memory is promised.
                let (made, _coming) = match self.promise(name, vm).await {
                    Ok(coming) => (self.open_or_make(seat, name, vm, image, tell).await, Some(coming)),
                    Err(why) => (Err(why), None),
                };
                match &made {
                    Ok(snapshot) => self.goldens.set(name, State::Open(snapshot.clone())),
                    Err(why) if why.is_found_out_at_once() => {}
                    Err(why) => {
                        self.goldens.set(name, State::Failed(why.to_string().into(), Instant::now()));
                    }
                }
                made
            }
        };
        tell.stage(Stage::Restore);
        golden
    }
}

/// Whether the monitor did not understand a snapshot, or did not go on from it in time; else the seat or the host has a reason of its own.
fn is_of_the_snapshot(why: &VmmError) -> bool {
    matches!(
        why,
        VmmError::Ended { .. }
            | VmmError::Snapshot { .. }
            | VmmError::Timeout { what: STARTED, .. }
            | VmmError::Monitor { .. }
            | VmmError::Firecracker(_)
    )
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}
