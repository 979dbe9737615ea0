//! Keeps in force what keeps seats apart, for as long as they live.
//!
//! Any program may flush the packet filter, and Debian's `systemctl reload nftables` does. Seats are then without a way out, and with ways to each
//! other and to the host that they should not have. The filter's rules and sets are a few kilobytes, so they are looked at often.
//!
//! Their way out is looked after here too, in the time of nobody who waits for a seat: the host may get another one, or a Docker engine that stands in it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seats::{ProviderError, Scope, SeatRef, Stage, WorkshopId};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::core::Core;
use crate::edges::{NetError, WorkshopNet};
use crate::fail;
use crate::records::{Phase, SeatRecord};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);

/// Somebody who looks. He ends with this.
#[derive(Debug)]
pub(crate) struct Guard(JoinHandle<()>);

impl Guard {
    /// Begins to look. Needs a runtime.
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        let network = core.edges.network.clone();
        let core = Arc::downgrade(core);
        Self(tokio::spawn(async move {
            let mut tick = pin!(tokio::time::sleep(EVERY));
            let (mut said, mut said_of_the_way) = (None, None);
            // Whoever has just found the seats has seen to their being kept apart.
            let mut is_time = false;
            loop {
                // Before the way out, which may take its time.
                if is_time {
                    let Some(core) = core.upgrade() else { return };
                    let trouble = core.keep_guarded(EVERY).await.err().map(|why| why.to_string());
                    if let Some(why) = unsaid(trouble, &mut said) {
                        tracing::error!(why, "whether seats are kept apart is not known, or they are not");
                    }
                }
                let trouble = network.keep_reaching().await.err().map(|why| why.to_string());
                if let Some(why) = unsaid(trouble, &mut said_of_the_way) {
                    tracing::error!(why, "whether seats reach the world is not known, or they do not");
                }
                is_time = tokio::select! {
                    () = &mut tick => true,
                    () = network.news() => false,
                };
                if is_time {
                    tick.set(tokio::time::sleep(EVERY));
                }
            }
        }))
    }
}

/// What is to be said: trouble once, not every time.
fn unsaid(trouble: Option<String>, said: &mut Option<String>) -> Option<String> {
    let is_said = trouble == *said;
    said.clone_from(&trouble);
    trouble.filter(|_| !is_said)
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Core {
    /// Puts the packet filter in order again when somebody took out of it what seats need that run. All of them are tried, side by side, and each waits for its
    /// turn no longer than this; what went wrong is told of each.
    pub(crate) async fn keep_guarded(&self, patience: Duration) -> Result<(), ProviderError> {
        let there = self.state.seats(&Scope::All);
        let there = there.map_err(fail::io("this host", Stage::Check, "reading the seats' folders"))?;
        let running = futures_util::future::join_all(there.iter().map(|seat| self.running(seat))).await;
        let seats: Vec<_> = running.into_iter().flatten().collect();
        let on_the_network = |record: &SeatRecord| {
            let net = self.known_network(&record.of())?;
            Some((net, Self::port_of(record)))
        };
        let ports: Vec<_> = seats.iter().filter_map(on_the_network).collect();
        let failed = |why: NetError| fail::net("this host", Stage::Network)(why);
        if ports.is_empty() || self.edges.network.guards(&ports).await.map_err(failed)? {
            return Ok(());
        }
        tracing::warn!("somebody changed the packet filter that keeps seats apart; it is put in order again");
        self.edges.network.refresh().await.map_err(failed)?;
        // The rules are in force now and know of no seat. None waits for another to be known again.
        let mended = Mended::default();
        let each = seats.iter().map(|record| self.mend(record.of(), &mended, patience));
        let all = futures_util::future::join_all(each).await;
        let mut troubles: Vec<_> = all.into_iter().filter_map(Result::err).collect();
        if troubles.len() > 1 {
            let detail: Vec<_> = troubles.iter().map(ToString::to_string).collect();
            return Err(fail::failed("this host", Stage::Network, detail.join("; "), None));
        }
        troubles.pop().map_or(Ok(()), Err)
    }

    /// Puts a seat that runs in order again, if its turn comes within this time. Whoever has it for longer, for one to start it again, is not waited for: the next
    /// look finds what is still missing.
    async fn mend(&self, seat: SeatRef, mended: &Mended, patience: Duration) -> Result<(), ProviderError> {
        let Ok(turn) = tokio::time::timeout(patience, self.turn(&seat)).await else {
            let detail = format!(
                "the packet filter may not know it, and somebody else has worked on it for {} s; it is looked at again",
                patience.as_secs()
            );
            return Err(fail::failed(fail::seat(&seat), Stage::Network, detail, None));
        };
        let _turn = turn?;
        // It may have gone while its turn was waited for.
        match self.running(&seat).await {
            Some(record) => self.rejoin(&record, mended).await,
            None => Ok(()),
        }
    }

    /// The record of a seat whose VM runs.
    async fn running(&self, seat: &SeatRef) -> Option<SeatRecord> {
        let record = self.record(seat).ok().flatten().filter(|record| record.phase == Phase::Started)?;
        self.live(&record).await.ok().flatten().map(|_| record)
    }

    /// Makes the network of a VM that runs what it should be, its workshop's too when it is the first of it.
    pub(crate) async fn rejoin(&self, record: &SeatRecord, mended: &Mended) -> Result<(), ProviderError> {
        let seat = record.of();
        let failed = |why| fail::net(fail::seat(&seat), Stage::Network)(why);
        let network = &self.edges.network;
        // It may be another than that of the seats before: a workshop that was made again while this one's turn was waited for.
        let net = self.network_of(&seat).await?;
        let cell = mended.cell(&seat.workshop);
        let ensure = async || network.ensure_workshop(&net).await.map_err(failed).map(|()| net.clone());
        if *cell.get_or_try_init(ensure).await? != net {
            network.ensure_workshop(&net).await.map_err(failed)?;
        }
        let joined = network.ensure_port(&net, &Self::port_of(record)).await;
        joined.map(drop).map_err(failed)
    }
}

/// The workshops whose networks are in order already, while their seats are looked at.
#[derive(Default)]
pub(crate) struct Mended(Mutex<HashMap<WorkshopId, Arc<OnceCell<WorkshopNet>>>>);

impl Mended {
    /// Of one workshop. While it is mended, its other seats wait; when that fails, the next of them tries.
    fn cell(&self, workshop: &WorkshopId) -> Arc<OnceCell<WorkshopNet>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(workshop.clone()).or_default().clone()
    }
}
