//! Faults on request: which call fails or hangs, and whether its effect happens all the same.

use std::sync::Arc;

use seats::SeatRef;
use tokio::sync::watch;

use crate::Step;

/// Which calls a fault hits. By default the next call of the step, for any seat, before it has an effect.
#[derive(Clone, Debug)]
pub struct Fault {
    step: Step,
    first: u64,
    times: u64,
    seat: Option<SeatRef>,
    full: bool,
    pub(super) moment: Moment,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened, and the answer is lost.
    After,
}

impl Fault {
    /// Hits the next call of `step`.
    #[must_use]
    pub fn at(step: Step) -> Self {
        Self { step, first: 1, times: 1, seat: None, full: false, moment: Moment::Before }
    }

    /// Hits the `nth` call from now, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { first: nth, ..self }
    }

    /// Hits that many calls in a row instead of one.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Hits, and counts, only calls for this seat.
    #[must_use]
    pub fn only(self, seat: &SeatRef) -> Self {
        Self { seat: Some(seat.clone()), ..self }
    }

    /// Strikes after the effect: the engine did it, and the answer was lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { moment: Moment::After, ..self }
    }

    /// The engine says that its disk is full.
    #[must_use]
    pub fn host_full(self) -> Self {
        Self { full: true, ..self }
    }

    pub(super) fn failing(self) -> Armed {
        let action = if self.full { Action::Full } else { Action::Refuse };
        Armed { fault: self, seen: 0, action }
    }

    pub(super) fn hanging(self) -> (Armed, Gate) {
        let latch = Arc::new(Latch { reached: watch::Sender::new(0), open: watch::Sender::new(false) });
        (Armed { fault: self, seen: 0, action: Action::Hang(Arc::clone(&latch)) }, Gate(latch))
    }
}

/// What a fault does to a call.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Refuse,
    Full,
    Hang(Arc<Latch>),
}

/// A fault and how many of its calls have come.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(super) fault: Fault,
    seen: u64,
    pub(super) action: Action,
}

impl Armed {
    /// Counts a call when it is one of this fault's, and says whether it is hit.
    pub(super) fn meets(&mut self, step: Step, seat: Option<&SeatRef>) -> bool {
        let fault = &self.fault;
        if fault.step != step || (fault.seat.is_some() && fault.seat.as_ref() != seat) {
            return false;
        }
        self.seen += 1;
        (fault.first..fault.first.saturating_add(fault.times)).contains(&self.seen)
    }
}

#[derive(Debug)]
pub(crate) struct Latch {
    reached: watch::Sender<u64>,
    open: watch::Sender<bool>,
}

impl Latch {
    pub(super) async fn pass(&self) {
        self.reached.send_modify(|count| *count += 1);
        // The sender lives in self, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Holds the calls that hang. Dropping it lets them go.
#[derive(Debug)]
pub struct Gate(Arc<Latch>);

impl Gate {
    /// Waits until at least `calls` calls hang here, or have.
    pub async fn reached(&self, calls: u64) {
        let _ = self.0.reached.subscribe().wait_for(|count| *count >= calls).await;
    }

    /// Lets go of what hangs, and of what would.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}
