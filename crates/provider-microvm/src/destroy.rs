//! Removing seats: the VM first, then its port, its image, its files, and its record last; then the network of a workshop that
//! has no seat any more. Teardown goes on after an error, returns the first, logs the others, and can be repeated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use seats::{DataPolicy, ProviderError, Scope, SeatRef, Stage, WorkshopId};

use crate::core::{Core, blocking};
use crate::fail;
use crate::records::{self, Phase, SeatRecord, Unreadable};

/// How many seats of a workshop are removed side by side.
const SIDE_BY_SIDE: usize = 16;

/// How long a machine may take to be off, beside the grace of its workload.
const POWER_OFF: Duration = Duration::from_secs(10);

impl Core {
    pub(crate) async fn remove_seat(
        self: Arc<Self>,
        seat: SeatRef,
        data: DataPolicy,
    ) -> Result<(), ProviderError> {
        let _turn = self.turn(&seat).await?;
        let keep = data == DataPolicy::Keep;
        let removed = match self.record(&seat) {
            Ok(None) => {
                // Only what an interrupted create left before its record; a folder of somebody else stays.
                let folder = self.state.seat(&seat);
                let strangers = folder.strangers().unwrap_or_default();
                if strangers.is_empty() {
                    drop(folder.empty(false));
                    folder.remove().map_err(fail::io(fail::seat(&seat), Stage::Undo, "removing its folder"))
                } else {
                    return Ok(());
                }
            }
            Ok(Some(record)) if record.is_kept() && keep => Ok(()),
            Ok(Some(mut record)) => {
                let was_running = record.phase == Phase::Started;
                record.phase = Phase::Destroying { keep };
                // What cannot be written down is removed all the same: a full disk must not keep a seat.
                if let Err(why) = self.write(&record, Stage::Undo).await {
                    tracing::warn!(%seat, %why, "the removal could not be written down");
                }
                if keep && was_running {
                    self.stop_orderly(&record).await;
                }
                self.dismantle_only(&seat, Some(&record), keep).await
            }
            Err(why) if keep => Err(self.cannot_keep(&seat, &why)),
            Err(why) => {
                tracing::warn!(%seat, %why, "the seat is removed as far as its name tells what it has");
                self.dismantle_only(&seat, None, false).await
            }
        };
        first_of(&fail::seat(&seat), [removed, self.close_workshop(&seat.workshop).await])
    }

    pub(crate) async fn remove_workshop(
        self: Arc<Self>,
        workshop: WorkshopId,
        data: DataPolicy,
    ) -> Result<(), ProviderError> {
        let seats = self.state.seats(&Scope::Workshop(workshop.clone()));
        let seats = seats.map_err(fail::io(fail::workshop(&workshop), Stage::Check, "reading its seats"))?;
        let removals = seats.into_iter().map(|seat| {
            let core = self.clone();
            async move { core.remove_seat(seat, data).await }
        });
        let mut outcomes: Vec<_> = stream::iter(removals).buffer_unordered(SIDE_BY_SIDE).collect().await;
        outcomes.push(self.close_workshop(&workshop).await);
        first_of(&fail::workshop(&workshop), outcomes)
    }

    /// Takes back all that a record could have brought about, and the workshop's network after its last seat. The turn on the
    /// seat is held.
    pub(crate) async fn dismantle(
        &self,
        seat: &SeatRef,
        record: Option<&SeatRecord>,
        keep: bool,
    ) -> Result<(), ProviderError> {
        let removed = self.dismantle_only(seat, record, keep).await;
        first_of(&fail::seat(seat), [removed, self.close_workshop(&seat.workshop).await])
    }

    async fn dismantle_only(
        &self,
        seat: &SeatRef,
        record: Option<&SeatRecord>,
        keep: bool,
    ) -> Result<(), ProviderError> {
        let folder = self.state.seat(seat);
        let cleared = self.clear(seat).await;
        let is_clear = cleared.is_ok();
        let unplugged = self.edges.network.remove_port(seat).await;
        let unplugged = unplugged.map_err(fail::net(fail::seat(seat), Stage::Network));
        let entry = record.and_then(SeatRecord::entry);
        let unpinned = self.images.unpin(entry.as_ref(), seat);
        let mut outcomes = vec![cleared, unplugged, unpinned];
        let io = |doing: &'static str| fail::io(fail::seat(seat), Stage::Undo, doing);
        // Otherwise something may still write to the disks.
        if is_clear {
            let folder = folder.clone();
            let emptied = blocking(move || folder.empty(keep)).await;
            outcomes.push(emptied.map_err(io("removing the seat's files")));
        }
        first_of(&fail::seat(seat), outcomes)?;
        match record {
            Some(record) if keep && folder.data().exists() => self.write(&record.kept(), Stage::Undo).await,
            _ => blocking(move || {
                records::remove(&folder.record())?;
                folder.remove()
            })
            .await
            .map_err(io("removing the seat's record")),
        }
    }

    /// The same as [`Core::close_books`], for whom does not hold the ledger.
    pub(crate) async fn close_workshop(&self, workshop: &WorkshopId) -> Result<(), ProviderError> {
        if !self.state.workshop(workshop).path().exists() {
            return Ok(());
        }
        let turn = self.locks.turn(self.state.ledger_lock()).await;
        let _turn =
            turn.map_err(fail::io(fail::workshop(workshop), Stage::Undo, "waiting for the ledger"))?;
        self.close_books(workshop).await
    }

    /// Lets a workspace end that has something to write down. What does not end in time is killed afterwards.
    pub(crate) async fn stop_orderly(&self, record: &SeatRecord) {
        let seat = record.of();
        let grace = self.config.stop_grace;
        let Ok(Some(live)) = self.live(record).await else { return };
        let stop = async {
            match tokio::time::timeout(grace, live.link.up()).await {
                Ok(Some(guest)) => guest.stop(grace).await.map_err(|why| why.to_string())?,
                // It ended by itself.
                Ok(None) => return Ok(()),
                Err(_) => return Err("its agent cannot be spoken to".to_owned()),
            }
            match tokio::time::timeout(grace + POWER_OFF, live.machine.exited()).await {
                Ok(ended) => ended.map(drop).map_err(|why| why.to_string()),
                Err(_) => Err("it is not off after its grace".to_owned()),
            }
        };
        if let Err(why) = stop.await {
            tracing::warn!(%seat, why, "the seat is killed, and what it had not written to its disk is lost");
        }
    }

    fn cannot_keep(&self, seat: &SeatRef, why: &Unreadable) -> ProviderError {
        let data = self.state.seat(seat).data();
        let detail = format!(
            "{why}, so its data cannot be kept with it: copy {} if you need it, then destroy the seat with its data",
            data.display()
        );
        ProviderError::Refused { for_whom: fail::seat(seat), detail }
    }
}

/// The first error, which is told; those after it are logged.
fn first_of(
    whom: &str,
    outcomes: impl IntoIterator<Item = Result<(), ProviderError>>,
) -> Result<(), ProviderError> {
    let mut errors = outcomes.into_iter().filter_map(Result::err);
    let Some(first) = errors.next() else { return Ok(()) };
    for why in errors {
        tracing::error!(whom, %why, "this went wrong as well while it was removed");
    }
    Err(first)
}
