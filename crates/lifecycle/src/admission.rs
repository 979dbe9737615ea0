//! Admission: how many creates work at once, and how many may wait.
//!
//! Everyone who may come in holds a [`Ticket`], then, when it is their turn, a [`Permit`]. The tickets are counted
//! at the door, so a flood is refused at once instead of growing a queue nobody will live to see the end of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many came in while there was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) waiting: usize,
    pub(crate) retry_after: Duration,
}

#[derive(Debug)]
struct Counts {
    inside: AtomicUsize,
    working: AtomicUsize,
    /// How long a permit is held, in microseconds: an exponential mean over about the last eight.
    mean_micros: AtomicU64,
}

/// The door.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    parallel: usize,
    queue: usize,
    counts: Arc<Counts>,
}

impl Admission {
    pub(crate) fn new(parallel: usize, queue: usize) -> Self {
        let counts = Counts {
            inside: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            mean_micros: AtomicU64::new(0),
        };
        Self { permits: Arc::new(Semaphore::new(parallel)), parallel, queue, counts: Arc::new(counts) }
    }

    /// Comes in if there is room.
    pub(crate) fn enter(&self) -> Result<Ticket, Full> {
        let room = self.parallel.saturating_add(self.queue);
        self.counts
            .inside
            .try_update(Ordering::AcqRel, Ordering::Acquire, |inside| (inside < room).then_some(inside + 1))
            .map(|_| self.ticket())
            .map_err(|_| self.full())
    }

    /// Comes in whether there is room or not: for the seats of a class that was let in as a whole.
    pub(crate) fn enter_with_class(&self) -> Ticket {
        self.counts.inside.fetch_add(1, Ordering::AcqRel);
        self.ticket()
    }

    /// Whether there is room, without coming in.
    pub(crate) fn has_room(&self) -> Result<(), Full> {
        let room = self.parallel.saturating_add(self.queue);
        if self.counts.inside.load(Ordering::Acquire) < room { Ok(()) } else { Err(self.full()) }
    }

    /// How many work now.
    pub(crate) fn working(&self) -> usize {
        self.counts.working.load(Ordering::Acquire)
    }

    /// How many wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.counts.inside.load(Ordering::Acquire).saturating_sub(self.working())
    }

    fn ticket(&self) -> Ticket {
        Ticket { admission: self.clone() }
    }

    fn full(&self) -> Full {
        let waiting = self.waiting();
        let mean = Duration::from_micros(self.counts.mean_micros.load(Ordering::Relaxed));
        let rounds = u32::try_from(waiting / self.parallel.max(1)).unwrap_or(u32::MAX);
        // When the whole line has had its turn there surely is room; a minute is as far as a guess is worth.
        let guess = mean.saturating_mul(rounds);
        Full { waiting, retry_after: guess.clamp(Duration::from_secs(1), Duration::from_secs(60)) }
    }
}

/// A place inside, waiting or (as part of a [`Permit`]) working.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Admission,
}

impl Ticket {
    /// Waits in line, first come first served.
    pub(crate) async fn admit(self) -> Permit {
        // The semaphore is never closed; should it be, working unbounded beats not working.
        let permit = self.admission.permits.clone().acquire_owned().await.ok();
        self.admission.counts.working.fetch_add(1, Ordering::AcqRel);
        Permit { ticket: self, _permit: permit, since: Instant::now() }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.counts.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Leave to work.
#[derive(Debug)]
pub(crate) struct Permit {
    ticket: Ticket,
    _permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counts = &self.ticket.admission.counts;
        counts.working.fetch_sub(1, Ordering::AcqRel);
        let held = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let old = counts.mean_micros.load(Ordering::Relaxed);
        let mean = if old == 0 { held } else { old - old / 8 + held / 8 };
        counts.mean_micros.store(mean, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn counts_at_the_door_and_serves_in_order() {
        let admission = Admission::new(1, 2);
        let first = admission.enter().unwrap().admit().await;
        let second = admission.enter().unwrap();
        let third = admission.enter().unwrap();
        assert_eq!((admission.working(), admission.waiting()), (1, 2));
        assert_eq!(admission.enter().unwrap_err().waiting, 2);
        let mut second = Box::pin(second.admit());
        let mut third = Box::pin(third.admit());
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the third must not overtake the second");
        let second = second.now_or_never().unwrap();
        drop(second);
        drop(third.now_or_never().unwrap());
        assert_eq!((admission.working(), admission.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_no_trace() {
        let admission = Admission::new(1, 1);
        let first = admission.enter().unwrap().admit().await;
        let mut second = Box::pin(admission.enter().unwrap().admit());
        assert!((&mut second).now_or_never().is_none());
        drop(second);
        assert_eq!((admission.working(), admission.waiting()), (1, 0));
        drop(first);
        assert!(admission.enter().unwrap().admit().now_or_never().is_some());
    }

    #[test]
    fn a_class_comes_in_as_a_whole() {
        let admission = Admission::new(1, 0);
        let seats: Vec<_> = (0..5).map(|_| admission.enter_with_class()).collect();
        assert!(admission.has_room().is_err() && admission.enter().is_err());
        drop(seats);
        assert!(admission.has_room().is_ok());
    }

    #[test]
    fn the_guess_stays_within_reason() {
        let full = Admission::new(1, 0).full();
        assert_eq!(full.retry_after, Duration::from_secs(1));
    }
}
