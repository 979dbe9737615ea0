//! The image's program, from its first start to its last end.
//!
//! ```text
//!            ┌──────────── pause ◀───────────────┐
//!            ▼                                    │
//!   plan ▶ start ▶ runs ▶ ended ▶ the rest of its group ended ▶ again? ──no──▶ exited
//!     └──▶ failed           ▲
//!                   stop: its signal, the deadline, SIGKILL
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_protocol::{Exit, RestartPolicy, Signal, Workload, WorkloadState};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backoff::BackOff;
use super::launch::{Launched, Stdio};
use super::log::now_ms;
use super::{Log, Source, lookup, plan_workload};
use crate::console::say;
use crate::guest::Guest;
use crate::seat::Seat;

/// How long outputs are listened to after the program has ended, should somebody else still hold them open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Looks after the workload until the seat stops.
pub(crate) async fn supervise(guest: Arc<Guest>, seat: Arc<Seat>) {
    let mut back_off = BackOff::new(seat.config.restart);
    let mut stopping = guest.stopping();
    loop {
        if guest.is_stopping() {
            return;
        }
        let pause = match start(&guest, &seat) {
            Err(Failed { why, passing }) => {
                say(format_args!("{}: {why}", seat.config.seat));
                let state = if passing { WorkloadState::BackOff } else { WorkloadState::Failed };
                guest.tell(|workload| {
                    *workload = Workload { state, reason: Some(why), pid: None, ..workload.clone() }
                });
                if !passing {
                    return;
                }
                back_off.after(Duration::ZERO)
            }
            Ok(running) => {
                let (exit, ran) = running.until_ended(&guest, &seat).await;
                let again = match seat.config.restart.policy {
                    RestartPolicy::UnlessStopped => true,
                    RestartPolicy::OnFailure => exit != Exit::Code(0),
                    RestartPolicy::Never => false,
                };
                let over = guest.is_stopping() || !again;
                let last_line = guest.log.last_line(&seat.secrets());
                guest.tell(|workload| {
                    workload.state = if over { WorkloadState::Exited } else { WorkloadState::BackOff };
                    (workload.pid, workload.last_exit, workload.last_line) = (None, Some(exit), last_line);
                });
                if over {
                    return;
                }
                back_off.after(ran)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Nobody else ends it.
            _ = stopping.wait_for(Option::is_some) => return,
        }
        guest.tell(|workload| workload.restarts += 1);
    }
}

/// Why it did not start.
struct Failed {
    why: String,
    /// Whether it may work later.
    passing: bool,
}

struct Running {
    launched: Launched,
    since: Instant,
    outputs: JoinSet<()>,
}

fn start(guest: &Guest, seat: &Seat) -> Result<Running, Failed> {
    let plan = plan_workload(seat).map_err(|problem| Failed { why: problem.message, passing: false })?;
    let started = plan.start(&guest.reaper, Stdio::Outputs);
    let mut launched = started.map_err(|why| Failed {
        passing: lookup::is_passing(&why),
        why: lookup::explain(&plan.file, &why),
    })?;
    let mut outputs = JoinSet::new();
    if let Some(out) = launched.out.take() {
        outputs.spawn(listen(out, Source::Out, guest.log.clone()));
    }
    if let Some(err) = launched.err.take() {
        outputs.spawn(listen(err, Source::Err, guest.log.clone()));
    }
    let pid = Some(launched.child.pid);
    guest.tell(|workload| {
        (workload.state, workload.pid, workload.reason) = (WorkloadState::Running, pid, None);
        workload.started_unix_ms = Some(now_ms());
    });
    Ok(Running { launched, since: Instant::now(), outputs })
}

impl Running {
    /// How it ended, and after what time. When it has ended, so has everything that it started.
    async fn until_ended(mut self, guest: &Guest, seat: &Seat) -> (Exit, Duration) {
        let pid = self.launched.child.pid;
        let mut stopping = guest.stopping();
        let stop = async { stopping.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline) };
        let exit = tokio::select! {
            exit = self.launched.child.exited() => exit,
            deadline = stop => {
                guest.reaper.signal(pid, seat.config.run.stop_signal(), false);
                match timeout(deadline.unwrap_or_default(), self.launched.child.exited()).await {
                    Ok(exit) => exit,
                    Err(_) => {
                        guest.reaper.signal(pid, Signal::KILL, false);
                        self.launched.child.exited().await
                    }
                }
            }
        };
        let ran = self.since.elapsed();
        seat.end_all(pid);
        let all = async { while self.outputs.join_next().await.is_some() {} };
        drop(timeout(LAST_WORDS, all).await);
        (exit, ran)
    }
}

/// Takes what a program says until nobody can say more.
async fn listen(mut pipe: pipe::Receiver, source: Source, log: Log) {
    let mut buffer = vec![0; 16 << 10];
    // A pipe that breaks is at its end.
    while let Ok(size @ 1..) = pipe.read(&mut buffer).await {
        log.push(source, &buffer[..size]);
    }
    log.end(source);
}
