//! From a VM that is to start to an agent that can be spoken to.
//!
//! A guest whose host kept it waiting while its kernel measured the timer comes up without one; its agent says so and ends it. That is
//! no fault of the seat's, and starting it once more most often helps.

use std::sync::Arc;

use guest_protocol::NO_TIMER;
use seats::{ProviderError, SeatRef, Stage};

use crate::core::{Core, blocking};
use crate::edges::Guest;
use crate::images::Ready;
use crate::live::Live;
use crate::records::SeatRecord;
use crate::tell::Tell;
use crate::vmm::VmSpec;
use crate::{console, fail};

/// Why there is no agent.
struct Absent {
    detail: String,
    /// Whether it has ended because it had no timer.
    without_timer: bool,
}

impl Core {
    /// Starts the VM of a seat and waits for its agent; starts it once more when its guest had no timer.
    pub(crate) async fn come_up(
        &self,
        record: &mut SeatRecord,
        vm: &VmSpec,
        ready: &Ready,
        tell: &Tell,
    ) -> Result<(Arc<Live>, Arc<dyn Guest>), ProviderError> {
        let seat = record.of();
        let mut again = false;
        loop {
            let (machine, restored) = self.start_machine(&seat, vm, ready, tell).await?;
            if again {
                tell.note("started once more: the guest came up without a timer");
            }
            record.restored = restored;
            let live = self.keep(record, machine);
            let Absent { mut detail, without_timer } = match self.joined(&seat, &live).await {
                Ok(guest) => return Ok((live, guest)),
                Err(absent) => absent,
            };
            if again || !without_timer {
                if again {
                    detail.push_str("; it was the second try, after a guest without a timer");
                }
                return Err(fail::failed(fail::seat(&seat), Stage::Start, detail, None));
            }
            tracing::warn!(%seat, "the guest came up without a timer, and is started once more");
            self.clear(&seat).await?;
            again = true;
        }
    }

    /// The agent of a guest that was just started.
    async fn joined(&self, seat: &SeatRef, live: &Live) -> Result<Arc<dyn Guest>, Absent> {
        let within = self.config.start_timeout;
        let (mut detail, ended) = tokio::select! {
            up = tokio::time::timeout(within, live.link.up()) => match up {
                Ok(Some(guest)) => return Ok(guest),
                Ok(None) => ("the VM ended while its guest booted".to_owned(), true),
                Err(_) => match live.link.now().trouble {
                    Some(why) => (why, false),
                    None => (format!("the guest agent did not answer within {} s", within.as_secs()), false),
                },
            },
            ended = live.machine.exited() => match ended {
                Ok(exit) => (format!("the VM ended while its guest booted: {exit}"), true),
                Err(why) => (why.to_string(), false),
            },
        };
        // The log goes with the seat, so its end is told here.
        let said = self.last_line(seat).await;
        let without_timer = ended && said.as_deref().is_some_and(is_no_timer);
        if let Some(line) = said {
            detail.push_str("; its console says last: ");
            detail.push_str(&line);
        }
        Err(Absent { detail, without_timer })
    }

    /// Whether the guest that has just ended in a seat's folder had no timer.
    pub(crate) async fn had_no_timer(&self, seat: &SeatRef) -> bool {
        self.last_line(seat).await.as_deref().is_some_and(is_no_timer)
    }

    async fn last_line(&self, seat: &SeatRef) -> Option<String> {
        let folder = self.state.seat(seat);
        blocking(move || console::last_line(&folder.console())).await.ok().flatten()
    }
}

fn is_no_timer(line: &str) -> bool {
    line.contains(NO_TIMER)
}
