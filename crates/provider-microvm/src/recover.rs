//! What a service does first: it finds the seats again.
//!
//! ```text
//!   creating     taken back: its secrets are gone with the service that made it
//!   starting     its VM is ended; the seat is stopped
//!   started      its VM lives: adopted, with its agent and its address; else the seat is stopped, and says why
//!   destroying   goes on
//!   kept         stays
//!   (no record)  what the kernel has with our mark goes
//! ```
//!
//! Nothing here is fatal: what one seat lacks is told of that seat, and the others live.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use seats::{ProviderError, Scope, SeatRef, Stage};

use crate::core::Core;
use crate::edges::Found;
use crate::fail;
use crate::guard::Mended;
use crate::locks;
use crate::records::{Phase, WorkshopRecord};

/// How many seats are looked after side by side.
const SIDE_BY_SIDE: usize = 16;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Seats whose VM lives.
    pub(crate) adopted: usize,
    /// Seats that are there without a VM.
    pub(crate) stopped: usize,
    /// Seats that were half made or half removed, and are gone now.
    pub(crate) removed: usize,
    /// Seats that need somebody to look.
    pub(crate) troubled: usize,
}

enum Outcome {
    Adopted,
    Stopped,
    Removed,
    Kept,
}

impl Core {
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<Recovered, ProviderError> {
        let io = |doing: &'static str| fail::io("this host", Stage::Check, doing);
        if let Err(error) = self.edges.network.refresh().await {
            tracing::error!(%error, "the packet filter could not be brought in order");
        }
        let seats = self.state.seats(&Scope::All).map_err(io("reading the seats' folders"))?;
        let mended = Arc::new(Mended::default());
        let each = seats.into_iter().map(|seat| {
            let (core, mended) = (self.clone(), mended.clone());
            async move {
                let outcome = core.recover_seat(&seat, &mended).await;
                (seat, outcome)
            }
        });
        let mut found = Recovered::default();
        let mut outcomes = stream::iter(each).buffer_unordered(SIDE_BY_SIDE);
        while let Some((seat, outcome)) = outcomes.next().await {
            match outcome {
                Ok(Outcome::Adopted) => found.adopted += 1,
                Ok(Outcome::Stopped) => found.stopped += 1,
                Ok(Outcome::Removed) => found.removed += 1,
                Ok(Outcome::Kept) => {}
                Err(error) => {
                    found.troubled += 1;
                    tracing::error!(%seat, %error, "a seat could not be brought in order; destroy it, or start the service again");
                }
            }
        }
        for workshop in self.state.workshops().map_err(io("reading the workshops' folders"))? {
            if let Err(error) = self.close_workshop(&workshop).await {
                tracing::error!(%workshop, %error, "what is left of a workshop could not be removed");
            }
        }
        self.sweep().await;
        self.sweep_snapshots().await;
        self.sweep_locks().await;
        Ok(found)
    }

    async fn recover_seat(&self, seat: &SeatRef, mended: &Mended) -> Result<Outcome, ProviderError> {
        let _turn = self.turn(seat).await?;
        let record = match self.record(seat) {
            Ok(Some(record)) => record,
            Ok(None) => {
                let folder = self.state.seat(seat);
                if folder.strangers().is_ok_and(|strangers| strangers.is_empty()) {
                    drop(folder.empty(false));
                    drop(folder.remove());
                }
                return Ok(Outcome::Kept);
            }
            Err(why) => return Err(fail::unreadable(seat, &why)),
        };
        match record.phase {
            Phase::Kept => Ok(Outcome::Kept),
            Phase::Creating => {
                self.dismantle(seat, Some(&record), record.data_was_kept).await.map(|()| Outcome::Removed)
            }
            Phase::Destroying { keep } => {
                self.dismantle(seat, Some(&record), keep).await.map(|()| Outcome::Removed)
            }
            Phase::Starting => {
                self.clear(seat).await?;
                self.write(&record.stopped(), Stage::Check).await?;
                Ok(Outcome::Stopped)
            }
            Phase::Started => {
                let live = self.live(&record).await.map_err(fail::vmm(seat, Stage::Check))?;
                if live.is_none() {
                    // What its keeper left when the host went down.
                    self.clear(seat).await?;
                    if record.restored.is_some() {
                        self.write(&record.stopped(), Stage::Check).await?;
                    }
                    return Ok(Outcome::Stopped);
                }
                // Somebody may have flushed the packet filter, or removed a bridge, while no service ran.
                self.rejoin(&record, mended).await?;
                Ok(Outcome::Adopted)
            }
        }
    }

    /// Removes the files of turns that ended with a service that was killed.
    async fn sweep_locks(&self) {
        for path in self.state.locks().unwrap_or_default() {
            // Whoever holds one removes it.
            if !locks::is_held(&path)
                && let Err(why) = self.locks.turn(path).await
            {
                tracing::warn!(%why, "a lock's file stays, and is used again");
            }
        }
    }

    /// Removes what the kernel has of ours and no record names.
    async fn sweep(&self) {
        let found = match self.edges.network.survey().await {
            Ok(found) => found,
            Err(why) => {
                tracing::error!(%why, "what this host's network has of seats that are gone is not known");
                return;
            }
        };
        let seats: BTreeSet<_> = self.state.seats(&Scope::All).unwrap_or_default().into_iter().collect();
        for found in found {
            let removed = match &found {
                Found::Tap { seat, .. } => {
                    let _turn = self.turn(seat).await;
                    let is_known = seats.contains(seat)
                        && !self
                            .record(seat)
                            .is_ok_and(|record| record.is_none_or(|record| record.is_kept()));
                    if is_known { continue } else { self.edges.network.remove_port(seat).await }
                }
                Found::Bridge { workshop, .. } => {
                    let folder = self.state.workshop(workshop);
                    let _turn = self.locks.turn(self.state.ledger_lock()).await;
                    if !matches!(WorkshopRecord::read(&folder), Ok(None)) {
                        continue;
                    }
                    self.edges.network.remove_workshop(workshop, None).await
                }
            };
            match removed {
                Ok(()) => tracing::info!(?found, "removed what belonged to no seat any more"),
                Err(why) => tracing::error!(?found, %why, "what belongs to no seat could not be removed"),
            }
        }
    }
}
