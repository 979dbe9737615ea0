//! Waiting until a started seat answers.
//!
//! Connections to the workspace's ports are cheap, so they are tried often: as long after the last change as a quarter of what has passed since then. That the guest is configured,
//! that the workload started or ended, or the VM, is told by the agent and by the kernel at once.

use std::time::{Duration, Instant};

use seats::{Instance, ProviderError, Status};

use crate::core::Core;
use crate::records::Phase;

/// Between two probes: at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Core {
    pub(crate) async fn wait_until_settled(
        &self,
        instance: &Instance,
        within: Duration,
    ) -> Result<Instance, ProviderError> {
        let began = Instant::now();
        let Some(id) = instance.id.as_deref() else { return Ok(instance.clone()) };
        let gone = || ProviderError::Gone { seat: instance.seat.clone() };
        let mut pause = FIRST_PAUSE;
        loop {
            let record = match self.record(&instance.seat) {
                Ok(Some(record)) if record.id == id && record.phase != Phase::Kept => record,
                Ok(_) => return Err(gone()),
                // It is told as it is listed.
                Err(_) => return self.seen(&instance.seat).await.ok_or_else(gone),
            };
            // Whose start is under way is that create's to look for.
            let live = match record.phase {
                Phase::Started => self.live(&record).await.ok().flatten(),
                _ => None,
            };
            // Taken before looking, so that a change in between is not missed.
            let mut link = live.as_ref().map(|live| live.link.watch());
            if let Some(link) = &mut link {
                link.mark_unchanged();
            }
            let now = self.judged(&record).await;
            if now.status != Status::Starting {
                return Ok(now);
            }
            if began.elapsed() >= within {
                let had_its_time = within >= self.config.start_timeout;
                return Ok(if had_its_time { given_up(now, within) } else { now });
            }
            let changed = async {
                match (&mut link, &live) {
                    (Some(link), Some(live)) => tokio::select! {
                        _ = link.changed() => {}
                        _ = live.machine.exited() => {}
                    },
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 5 / 4).min(LONGEST_PAUSE),
                () = changed => pause = FIRST_PAUSE,
            }
        }
    }
}

fn given_up(mut instance: Instance, within: Duration) -> Instance {
    let what = instance.reason.take().unwrap_or_else(|| "it does not answer".to_owned());
    instance.status = Status::Error;
    instance.reason = Some(format!("{what} after {} s; see its log, or destroy the seat", within.as_secs()));
    instance
}
