//! The link to a guest's agent, kept for as long as anybody in this process cares for the guest.
//!
//! ```text
//!   Joining ──► Up (health on every change) ──► Lost ──► Up …
//!      └────────────────────────┴─────────────────┴────► Ended, with the VM
//! ```
//!
//! A monitor lets one at a time speak to an agent, so a VM has one link in a process, whoever asks for it; between processes the
//! lock of the state folder sees to that. Health is told by the agent when it changes, not asked for. What has to be asked for
//! is the clock, when a link is made and now and then: a host that slept wakes up guests whose clocks stood still; and whether the VM itself stands still, because the
//! host's disk is full: it is let go now and then, and goes on once there is room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use guest_protocol::client::LinkOptions;
use guest_protocol::{Health, Phase};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clocks::{Clocks, asleep};
use crate::edges::{Guest, Machine};
use crate::pace::Pace;

/// Between two tries to join: at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How far a guest's clock may be from the host's, beside what asking for it took.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(1);
/// How long an agent may take to tell of a change.
const TOLD: Duration = Duration::from_secs(5);
/// How often a VM is let go that stands still for want of space.
const UNSTICK_EVERY: Duration = Duration::from_secs(5);

/// How a link is.
#[derive(Clone, Default)]
pub(crate) struct LinkState {
    /// The agent, while it can be spoken to.
    pub(crate) guest: Option<Arc<dyn Guest>>,
    /// What it said last.
    pub(crate) health: Option<Health>,
    /// Why it cannot be spoken to.
    pub(crate) trouble: Option<String>,
    /// Since when it cannot be spoken to; nothing while it can.
    pub(crate) lost_since: Option<Instant>,
    /// How often its clock was set.
    pub(crate) steps: u32,
    /// Whether the VM stood still, when it was last looked at, because a disk of its could not be written to.
    pub(crate) is_stuck: bool,
}

impl LinkState {
    /// There is no link, and why; since when is kept.
    fn lose(&mut self, why: String) {
        self.guest = None;
        self.trouble = Some(why);
        self.lost_since.get_or_insert_with(Instant::now);
    }
}

impl std::fmt::Debug for LinkState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkState")
            .field("up", &self.guest.is_some())
            .field("health", &self.health)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

/// A link; it ends with the last who holds it.
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How patient a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long an agent may take to answer for the first time.
    pub(crate) connect: Duration,
    /// How often its clock is looked at.
    pub(crate) clock_every: Duration,
}

type Links = Mutex<HashMap<String, Weak<Link>>>;

/// The links of this process, by VM.
fn links() -> &'static Links {
    static LINKS: OnceLock<Links> = OnceLock::new();
    LINKS.get_or_init(Links::default)
}

impl Link {
    /// The link to a VM's agent: the one that this process has, or a new one. Needs a runtime.
    pub(crate) fn of(seat: &str, machine: &Arc<dyn Machine>, patience: Patience) -> Arc<Self> {
        let mut all = links().lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&machine.key()).and_then(Weak::upgrade);
        // One whose runtime has ended has a task that will not do anything any more.
        if let Some(link) = known.filter(|link| !link.task.is_finished()) {
            return link;
        }
        all.retain(|_, link| link.strong_count() > 0);
        let (tell, state) =
            watch::channel(LinkState { lost_since: Some(Instant::now()), ..LinkState::default() });
        let task = tokio::spawn(keep(seat.to_owned(), machine.clone(), tell, patience));
        let link = Arc::new(Self { state, task });
        all.insert(machine.key(), Arc::downgrade(&link));
        link
    }

    /// How it is now.
    pub(crate) fn now(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// To wait for changes.
    pub(crate) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Waits until the agent can be spoken to; nothing when the VM has ended.
    pub(crate) async fn up(&self) -> Option<Arc<dyn Guest>> {
        let mut state = self.watch();
        let up = state.wait_for(|state| state.guest.is_some()).await.ok()?;
        up.guest.clone()
    }

    /// Waits until the agent has told that it is configured, which comes by itself right after it was: else the seat would be judged by what it told before.
    pub(crate) async fn configured(&self) {
        let mut state = self.watch();
        let told = state
            .wait_for(|state| state.health.as_ref().is_some_and(|health| health.phase != Phase::Waiting));
        // One that tells nothing is seen by what it does not do.
        drop(tokio::time::timeout(TOLD, told).await);
    }
}

/// Keeps a link until the VM ends.
async fn keep(seat: String, machine: Arc<dyn Machine>, tell: watch::Sender<LinkState>, patience: Patience) {
    let options = LinkOptions { connect: patience.connect, ..LinkOptions::default() };
    let links = async {
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match machine.guest(options).await {
                Ok(guest) => {
                    let since = Instant::now();
                    let why = follow(&seat, &guest, &tell, patience).await;
                    // One that is lost as soon as it is there is tried no more often than one that is never there.
                    if since.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    why
                }
                Err(why) => why.to_string(),
            };
            tracing::debug!(seat, why, "there is no link to the guest's agent");
            tell.send_modify(|state| state.lose(why));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let ended: Result<_, _> = tokio::select! {
        () = links => return,
        () = unstick(&seat, &machine, &tell) => return,
        ended = machine.exited() => ended,
    };
    let why = match ended {
        Ok(exit) => exit.to_string(),
        Err(why) => why.to_string(),
    };
    tell.send_modify(|state| state.lose(why));
}

/// Lets a VM go on whenever it stands still.
async fn unstick(seat: &str, machine: &Arc<dyn Machine>, tell: &watch::Sender<LinkState>) {
    loop {
        tokio::time::sleep(UNSTICK_EVERY).await;
        // A monitor that does not answer is seen by what its guest does not do.
        let Ok(is_stuck) = machine.unstick().await else { continue };
        let changed =
            tell.send_if_modified(|state| std::mem::replace(&mut state.is_stuck, is_stuck) != is_stuck);
        if changed && is_stuck {
            tracing::error!(seat, "the guest stands still until there is free space on the host's disk");
        } else if changed {
            tracing::info!(seat, "the guest goes on: there is space on the host's disk again");
        }
    }
}

/// Tells what an agent says until the link is lost, and why it was.
async fn follow(
    seat: &str,
    guest: &Arc<dyn Guest>,
    tell: &watch::Sender<LinkState>,
    patience: Patience,
) -> String {
    let mut changes = match guest.watch().await {
        Ok(changes) => changes,
        Err(why) => return why.to_string(),
    };
    let mut clocks = Clocks::new(patience.clock_every, asleep);
    let mut pace = Pace::new();
    // One that waits for its configuration gets its clock with that.
    let mut has_clock = false;
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Ok(Some(health)) => {
                    pace.keep().await;
                    has_clock = health.phase != Phase::Waiting;
                    tell.send_modify(|state| {
                        state.guest = Some(guest.clone());
                        state.health = Some(health);
                        state.trouble = None;
                        state.lost_since = None;
                    });
                }
                Ok(None) => return "the guest's agent has ended".to_owned(),
                Err(why) => return why.to_string(),
            },
            () = clocks.due(), if has_clock => match step(guest).await {
                Ok(Some(drift)) => {
                    tracing::info!(seat, drift_ms = drift.as_millis(), "the guest's clock was set");
                    tell.send_modify(|state| state.steps += 1);
                }
                Ok(None) => {}
                // The watch tells when the link is lost.
                Err(why) => tracing::warn!(seat, %why, "the guest's clock could not be looked at"),
            },
        }
    }
}

/// Sets a guest's clock when it is not the host's; tells by how much it was off.
async fn step(guest: &Arc<dyn Guest>) -> Result<Option<Duration>, guest_protocol::client::ClientError> {
    let before = now();
    let health = guest.health().await?;
    let after = now();
    if health.clock_unix_ms == 0 {
        // An agent that does not tell.
        return Ok(None);
    }
    let guests = Duration::from_millis(health.clock_unix_ms);
    // Somewhere between the two it looked at its clock.
    let drift = if guests < before { before - guests } else { guests.saturating_sub(after) };
    if drift <= TOLERANCE {
        return Ok(None);
    }
    let unix_ns = u64::try_from(now().as_nanos()).unwrap_or(u64::MAX);
    guest.set_time(unix_ns).await?;
    Ok(Some(drift))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
