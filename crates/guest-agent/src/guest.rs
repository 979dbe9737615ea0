//! What is known of this guest, and what all parts of the agent share.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guest_protocol::{GENERATION, GuestConfig, Health, Phase, Problem, ProblemCode, Workload};
use rustix::time::ClockId;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::console::say;
use crate::run::{self, Log, Reaper};
use crate::seat::{Machine, Seat};

/// The most processes beside the workload at a time.
const EXECS: usize = 32;
/// The most archives that are read or written at a time; each takes a thread.
const ARCHIVES: usize = 4;

/// What is known of this guest.
pub(crate) struct Guest {
    pub(crate) reaper: Reaper,
    pub(crate) log: Log,
    pub(crate) execs: Arc<Semaphore>,
    pub(crate) archives: Arc<Semaphore>,
    machine: Box<dyn Machine>,
    state: Mutex<State>,
    told: watch::Sender<Told>,
    /// Once it stops: how long the workload has.
    stopping: watch::Sender<Option<Duration>>,
    /// Nothing is left to do but to end.
    over: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    config: Option<Arc<GuestConfig>>,
    seat: Option<Arc<Seat>>,
    /// Prepares the seat, and then looks after the workload.
    worker: Option<JoinHandle<()>>,
}

/// What of the health changes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    phase: Phase,
    reason: Option<String>,
    workload: Workload,
}

impl Guest {
    pub(crate) fn new(machine: Box<dyn Machine>) -> Arc<Self> {
        let told = Told { phase: Phase::Waiting, reason: None, workload: Workload::default() };
        Arc::new(Self {
            reaper: Reaper::default(),
            log: Log::default(),
            execs: Arc::new(Semaphore::new(EXECS)),
            archives: Arc::new(Semaphore::new(ARCHIVES)),
            machine,
            state: Mutex::default(),
            told: watch::channel(told).0,
            stopping: watch::channel(None).0,
            over: watch::channel(false).0,
        })
    }

    /// How it is.
    pub(crate) fn health(&self) -> Health {
        let Told { phase, reason, workload } = self.told.borrow().clone();
        Health {
            generation: GENERATION,
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            boot_id: boot_id(phase),
            uptime_ms: uptime_ms(),
            clock_unix_ms: run::now_ms(),
            phase,
            reason,
            workload,
        }
    }

    /// Tells that the health changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// Changes what is told of the workload.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Workload)) {
        self.told.send_if_modified(|told| {
            let before = told.workload.clone();
            change(&mut told.workload);
            told.workload != before
        });
    }

    fn phase(&self, phase: Phase, reason: Option<String>) {
        self.told.send_modify(|told| {
            // What ends does nothing else any more.
            if told.phase != Phase::Stopping {
                told.phase = phase;
            }
            told.reason = reason;
        });
    }

    /// Begins to make this guest a seat.
    pub(crate) fn configure(self: &Arc<Self>, config: GuestConfig) -> Result<(), Problem> {
        let conflict = |message: String| Err(Problem::new(ProblemCode::Conflict, message));
        if self.is_stopping() {
            return conflict("the guest is being stopped".into());
        }
        crate::seat::validate(&config)?;
        let mut state = self.lock();
        if let Some(known) = &state.config {
            return if known.same_seat(&config) {
                Ok(())
            } else {
                conflict(format!("this guest is {} already, with another configuration", known.seat))
            };
        }
        let config = Arc::new(config);
        state.config = Some(config.clone());
        self.phase(Phase::Configuring, None);
        let guest = self.clone();
        state.worker = Some(tokio::spawn(async move { guest.work(config).await }));
        Ok(())
    }

    async fn work(self: Arc<Self>, config: Arc<GuestConfig>) {
        let (guest, name) = (self.clone(), config.seat.clone());
        let preparing = tokio::task::spawn_blocking(move || guest.machine.prepare(config));
        let prepared = match preparing.await {
            Ok(prepared) => prepared,
            // It was said on the console.
            Err(panicked) => Err(format!("the agent failed while it prepared the seat: {panicked}")),
        };
        match prepared {
            Err(why) => {
                say(format_args!("{name}: {why}"));
                self.phase(Phase::Failed, Some(why));
            }
            Ok((seat, warnings)) => {
                for warning in &warnings {
                    say(format_args!("{name}: {warning}"));
                }
                let seat = Arc::new(seat);
                self.lock().seat = Some(seat.clone());
                self.phase(Phase::Running, (!warnings.is_empty()).then(|| warnings.join("; ")));
                run::supervise(self.clone(), seat).await;
            }
        }
    }

    /// The seat, once it is prepared.
    pub(crate) fn seat(&self) -> Result<Arc<Seat>, Problem> {
        let conflict = |message| Problem::new(ProblemCode::Conflict, message);
        if self.is_stopping() {
            return Err(conflict("the seat is being stopped"));
        }
        self.lock()
            .seat
            .clone()
            .ok_or_else(|| conflict("the guest is not a seat yet: its health tells how far it is"))
    }

    /// The workload's process, while it runs.
    pub(crate) fn workload_pid(&self) -> Option<u32> {
        self.told.borrow().workload.pid
    }

    pub(crate) fn set_clock(&self, unix_ns: u64) -> Result<(), String> {
        self.machine.set_clock(unix_ns)
    }

    /// Begins to end everything; a second time changes nothing.
    pub(crate) fn stop(self: &Arc<Self>, deadline: Duration) {
        let first = self.stopping.send_if_modified(|stopping| {
            let first = stopping.is_none();
            *stopping = Some(stopping.unwrap_or(deadline));
            first
        });
        if !first {
            return;
        }
        self.told.send_modify(|told| told.phase = Phase::Stopping);
        let guest = self.clone();
        tokio::spawn(async move {
            let worker = guest.lock().worker.take();
            if let Some(worker) = worker {
                // Whatever became of it.
                drop(worker.await);
            }
            guest.over.send_replace(true);
        });
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<Option<Duration>> {
        self.stopping.subscribe()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Waits until nothing is left to do but to end.
    pub(crate) async fn over(&self) {
        // The sender is this guest's own.
        drop(self.over.subscribe().wait_for(|over| *over).await);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Ends the machine.
    pub(crate) fn power_off(&self) {
        self.machine.power_off();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel makes it when it is first read. Before the guest is a seat, all that go on from one snapshot would get the same.
fn boot_id(phase: Phase) -> String {
    if matches!(phase, Phase::Waiting | Phase::Configuring) {
        return String::new();
    }
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
