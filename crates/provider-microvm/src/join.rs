//! From a VM that is to start to a guest that has its configuration.
//!
//! ```text
//!   goes on from a snapshot ──► agent ──► configured        silent, ended, lost: cleared, and booted
//!   boots ────────────────────► agent ──► configured        no timer: cleared, and booted once more
//! ```
//!
//! A guest that goes on from a snapshot has only to answer, so it has a part of the time that one has to boot: a snapshot that is no good costs its seat
//! that much, and the boot that follows has all the time of a boot.
//!
//! A guest whose host kept it waiting while its kernel measured the timer comes up without one; its agent says so and ends it. That is
//! no fault of the seat's, and starting it once more most often helps.

use std::sync::Arc;

use guest_protocol::client::ClientError;
use guest_protocol::{GuestConfig, NO_TIMER};
use seats::{ProviderError, SeatRef, Stage};

use crate::core::{Core, blocking};
use crate::edges::Guest;
use crate::images::Ready;
use crate::live::Live;
use crate::records::SeatRecord;
use crate::starts::Way;
use crate::tell::Tell;
use crate::vmm::VmSpec;
use crate::{SnapshotUse, console, fail};

/// Why there is no agent.
struct Absent {
    detail: String,
    /// Whether it has ended because it had no timer.
    without_timer: bool,
}

/// Why a guest has no configuration.
enum Unconfigured {
    Absent(Absent),
    /// Its agent answered, and then it did not.
    Told(ClientError),
    /// It is not the guest's fault.
    Other(ProviderError),
}

impl Core {
    /// Starts the VM of a seat and configures its guest; boots it when it could not go on from a snapshot, and once more when its guest had no timer.
    pub(crate) async fn come_up(
        &self,
        record: &mut SeatRecord,
        vm: &VmSpec,
        ready: &Ready,
        tell: &Tell,
        config: impl Fn(&SeatRecord) -> Result<GuestConfig, ProviderError>,
    ) -> Result<Arc<Live>, ProviderError> {
        let seat = record.of();
        let (mut again, mut why_not) = (false, None);
        loop {
            let (machine, restored) = self.start_machine(&seat, vm, ready, tell, why_not.clone()).await?;
            if again {
                tell.note("started once more: the guest came up without a timer");
            }
            let (restored, snapshot) = restored.unzip();
            record.restored = restored;
            let live = self.keep(record, machine);
            if let Some(snapshot) = snapshot {
                live.hold(snapshot);
            }
            let why = match self.configured(record, &live, tell, &config).await {
                Ok(()) => {
                    self.starts.count(match (&record.restored, self.config.snapshot) {
                        (Some(_), _) => Way::Restored,
                        (None, SnapshotUse::Off) => Way::Booted,
                        (None, SnapshotUse::Auto) => Way::BootedInstead,
                    });
                    if let Some(from) = &record.restored {
                        self.goldens.serves(&from.snapshot);
                    }
                    return Ok(live);
                }
                Err(why) => why,
            };
            if let Some(from) = record.restored.take()
                && let Some(why) = why.of_the_guest()
            {
                tracing::warn!(%seat, why, snapshot = from.snapshot, "the seat went on from a snapshot and did not come up; it is booted");
                self.refuse_snapshot(&from.snapshot, &why).await;
                self.clear(&seat).await?;
                why_not = Some(why);
                continue;
            }
            let Absent { mut detail, without_timer } = match why {
                Unconfigured::Absent(absent) => absent,
                Unconfigured::Told(why) => {
                    let text = why.to_string();
                    return Err(fail::failed(fail::seat(&seat), Stage::Inspect, text, Some(Box::new(why))));
                }
                Unconfigured::Other(why) => return Err(why),
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

    /// Waits for a guest's agent, and gives it the seat's configuration.
    async fn configured(
        &self,
        record: &SeatRecord,
        live: &Live,
        tell: &Tell,
        config: impl Fn(&SeatRecord) -> Result<GuestConfig, ProviderError>,
    ) -> Result<(), Unconfigured> {
        let guest = self.joined(record, live).await.map_err(Unconfigured::Absent)?;
        tell.stage(Stage::Inspect);
        // It has the time of now.
        let config = config(record).map_err(Unconfigured::Other)?;
        guest.configure(&config).await.map_err(Unconfigured::Told)?;
        live.link.configured().await;
        Ok(())
    }

    /// The agent of a guest that was just started.
    async fn joined(&self, record: &SeatRecord, live: &Live) -> Result<Arc<dyn Guest>, Absent> {
        let (seat, boot) = (record.of(), self.config.start_timeout);
        let (within, doing) = match record.restored {
            Some(_) => (self.config.restore_timeout.min(boot / 2), "went on from a snapshot"),
            None => (boot, "booted"),
        };
        let (mut detail, ended) = tokio::select! {
            up = tokio::time::timeout(within, live.link.up()) => match up {
                Ok(Some(guest)) => return Ok(guest),
                Ok(None) => (format!("the VM ended while its guest {doing}"), true),
                Err(_) => match live.link.now().trouble {
                    Some(why) => (why, false),
                    None => (format!("the guest agent did not answer within {} s", within.as_secs()), false),
                },
            },
            ended = live.machine.exited() => match ended {
                Ok(exit) => (format!("the VM ended while its guest {doing}: {exit}"), true),
                Err(why) => (why.to_string(), false),
            },
        };
        // The log goes with the seat, so its end is told here.
        let said = self.last_line(&seat).await;
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

    pub(crate) async fn last_line(&self, seat: &SeatRef) -> Option<String> {
        let folder = self.state.seat(seat);
        blocking(move || console::last_line(&folder.console())).await.ok().flatten()
    }
}

impl Unconfigured {
    /// In words, where another guest may do better: not where the agent has looked at what it was asked for, and says no.
    fn of_the_guest(&self) -> Option<String> {
        match self {
            Self::Absent(absent) => Some(absent.detail.clone()),
            Self::Told(ClientError::Refused { .. }) | Self::Other(_) => None,
            Self::Told(why) => Some(why.to_string()),
        }
    }
}

fn is_no_timer(line: &str) -> bool {
    line.contains(NO_TIMER)
}
