//! A VM that runs, as one provider knows it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::edges::Machine;
use crate::link::{Link, Patience};
use crate::vmm::Snapshot;

/// How long a workspace that answered is believed to answer still. Its death is told at once by the agent, and one that was started
/// again since then has to answer anew; this is for one that hangs.
const READY_FOR: Duration = Duration::from_secs(10);

/// A VM that runs, or ran when it was looked at.
pub(crate) struct Live {
    /// The seat's, which is another one when the seat is made again.
    pub(crate) id: String,
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) link: Arc<Link>,
    /// What it went on from: that is in use for as long as it runs, whatever the records say by then.
    snapshot: OnceLock<Arc<Snapshot>>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When it answered last, and how often it had been started again by then, as far as that was known.
    ready: Option<(Instant, Option<u32>)>,
    /// Since when it does not answer.
    silent_since: Option<Instant>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Live {
    /// Begins to look after a VM. Needs a runtime.
    pub(crate) fn new(seat: &str, id: &str, machine: Arc<dyn Machine>, patience: Patience) -> Arc<Self> {
        let link = Link::of(seat, &machine, patience);
        Arc::new(Self { id: id.to_owned(), machine, link, snapshot: OnceLock::new(), seen: Mutex::default() })
    }

    /// Notes what it went on from.
    pub(crate) fn hold(&self, snapshot: Arc<Snapshot>) {
        // It goes on once.
        drop(self.snapshot.set(snapshot));
    }

    /// Whether it answered lately, and was not started again since.
    pub(crate) fn is_ready(&self) -> bool {
        let restarts = self.restarts();
        self.seen().ready.is_some_and(|(at, then)| then == restarts && at.elapsed() < READY_FOR)
    }

    /// How often the workspace was started again, as far as that is known.
    pub(crate) fn restarts(&self) -> Option<u32> {
        self.link.now().health.map(|health| health.workload.restarts)
    }

    /// For how long it has not answered.
    pub(crate) fn silent_for(&self) -> Duration {
        self.seen().silent_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that it answers, which was asked when it had been started again so often.
    pub(crate) fn answered(&self, restarts: Option<u32>) {
        *self.seen() = Seen { ready: Some((Instant::now(), restarts)), silent_since: None };
    }

    /// Notes that it does not answer.
    pub(crate) fn went_silent(&self) {
        let mut seen = self.seen();
        seen.ready = None;
        seen.silent_since.get_or_insert(Instant::now());
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
