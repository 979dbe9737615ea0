//! Turns: operations that touch the same seat happen one after another, in the order they were asked for.
//!
//! A place in line is taken synchronously, at the moment a request is handled, so that the order of requests is
//! the order of effects however the tasks behind them are scheduled. A claim is for one seat or for the whole
//! workshop; a claim for the workshop waits for every earlier one, and every later one waits for it.
//!
//! ```text
//!   line of workshop "rust"      may go when
//!   ┌───────────────┐
//!   │ seat 1 make   │            at once
//!   │ seat 2 make   │            at once (another seat)
//!   │ seat 1 remove │            seat 1 make is done
//!   │ workshop      │            all above are done
//!   │ seat 3 make   │            the workshop's turn is done
//!   └───────────────┘
//! ```
//!
//! Whoever asks to remove tells the earlier ones that are still waiting to make the same thing: there is no use
//! in making a seat that somebody has already ordered destroyed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use seats::{SeatId, WorkshopId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// One seat.
    Seat(SeatId),
    /// The whole workshop.
    Workshop,
}

impl Claim {
    fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Seat(one), Self::Seat(two)) => one == two,
            _ => true,
        }
    }
}

/// What will be done in the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Make,
    Remove,
}

#[derive(Debug)]
struct Place {
    number: u64,
    claim: Claim,
    intent: Intent,
    wake: Arc<Notify>,
    superseded: CancellationToken,
}

#[derive(Debug, Default)]
struct Lines {
    last: u64,
    by_workshop: HashMap<WorkshopId, VecDeque<Place>>,
}

/// Every line of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Lines>>);

impl Turns {
    /// Takes a place at the end of the line.
    pub(crate) fn join(&self, workshop: &WorkshopId, claim: Claim, intent: Intent) -> Turn {
        let mut lines = self.lines();
        lines.last += 1;
        let number = lines.last;
        let line = lines.by_workshop.entry(workshop.clone()).or_default();
        if intent == Intent::Remove {
            for earlier in line.iter().filter(|e| e.intent == Intent::Make && e.claim.conflicts(claim)) {
                earlier.superseded.cancel();
            }
        }
        let wake = Arc::new(Notify::new());
        let superseded = CancellationToken::new();
        let place = Place { number, claim, intent, wake: wake.clone(), superseded: superseded.clone() };
        line.push_back(place);
        Turn { turns: self.clone(), workshop: workshop.clone(), number, claim, wake, superseded }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in line, given up when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    workshop: WorkshopId,
    number: u64,
    claim: Claim,
    wake: Arc<Notify>,
    superseded: CancellationToken,
}

impl Turn {
    /// Waits until nobody before this place has a claim on the same thing.
    pub(crate) async fn ready(&self) {
        while !self.is_ready() {
            self.wake.notified().await;
        }
    }

    /// Waits until somebody later asks to remove what this turn would make; for ever if nobody does.
    pub(crate) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// Whether somebody later has asked to remove what this turn makes.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.is_cancelled()
    }

    fn is_ready(&self) -> bool {
        let lines = self.turns.lines();
        lines.by_workshop.get(&self.workshop).is_none_or(|line| {
            !line.iter().take_while(|e| e.number < self.number).any(|e| e.claim.conflicts(self.claim))
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        let Some(line) = lines.by_workshop.get_mut(&self.workshop) else { return };
        line.retain(|place| place.number != self.number);
        if line.is_empty() {
            lines.by_workshop.remove(&self.workshop);
            return;
        }
        // One pass from the front finds everybody who may go now. Waking one who already went does no harm.
        let mut taken = HashSet::new();
        for (index, place) in line.iter().enumerate() {
            match place.claim {
                Claim::Seat(seat) => {
                    if taken.insert(seat) {
                        place.wake.notify_one();
                    }
                }
                Claim::Workshop => {
                    if index == 0 {
                        place.wake.notify_one();
                    }
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use seats::SeatBound;

    use super::*;

    fn workshop() -> WorkshopId {
        "abc".parse().unwrap()
    }

    fn seat(number: u64) -> Claim {
        Claim::Seat(SeatBound::default().seat(number).unwrap())
    }

    fn may_go(turn: &Turn) -> bool {
        turn.ready().now_or_never().is_some()
    }

    #[test]
    fn one_seat_takes_turns_and_others_do_not_wait() {
        let turns = Turns::default();
        let first = turns.join(&workshop(), seat(1), Intent::Make);
        let second = turns.join(&workshop(), seat(1), Intent::Make);
        let other = turns.join(&workshop(), seat(2), Intent::Make);
        assert!(may_go(&first) && !may_go(&second) && may_go(&other));
        drop(first);
        assert!(may_go(&second));
    }

    #[test]
    fn a_workshop_waits_for_all_and_all_wait_for_it() {
        let turns = Turns::default();
        let before = turns.join(&workshop(), seat(1), Intent::Make);
        let whole = turns.join(&workshop(), Claim::Workshop, Intent::Remove);
        let after = turns.join(&workshop(), seat(2), Intent::Make);
        let elsewhere = turns.join(&"xyz".parse().unwrap(), seat(1), Intent::Make);
        assert!(may_go(&before) && !may_go(&whole) && !may_go(&after) && may_go(&elsewhere));
        drop(before);
        assert!(may_go(&whole) && !may_go(&after));
        drop(whole);
        assert!(may_go(&after));
    }

    #[test]
    fn removing_supersedes_the_makes_before_it_only() {
        let turns = Turns::default();
        let before = turns.join(&workshop(), seat(1), Intent::Make);
        let other = turns.join(&workshop(), seat(2), Intent::Make);
        let _remove = turns.join(&workshop(), seat(1), Intent::Remove);
        let after = turns.join(&workshop(), seat(1), Intent::Make);
        assert!(before.superseded().now_or_never().is_some());
        assert!(other.superseded().now_or_never().is_none());
        assert!(after.superseded().now_or_never().is_none());
    }

    #[test]
    fn an_empty_line_is_forgotten() {
        let turns = Turns::default();
        drop(turns.join(&workshop(), seat(1), Intent::Make));
        assert!(turns.lines().by_workshop.is_empty());
    }

    proptest! {
        /// Whatever the claims and the order in which turns end: nobody waits for ever, no two turns with
        /// conflicting claims are ever open together, and conflicting turns go in the order they came.
        #[test]
        fn turns_are_exclusive_fair_and_live(claims in prop::collection::vec(0u64..5, 1..40), picks in prop::collection::vec(any::<prop::sample::Index>(), 40)) {
            let turns = Turns::default();
            let claim = |n: u64| if n == 0 { Claim::Workshop } else { seat(n) };
            let mut open: Vec<Turn> = claims.iter().map(|n| turns.join(&workshop(), claim(*n), Intent::Make)).collect();
            for pick in picks.iter().take(claims.len()) {
                let able: Vec<usize> = (0..open.len()).filter(|at| may_go(&open[*at])).collect();
                prop_assert!(!able.is_empty(), "everybody waits");
                for (index, one) in able.iter().enumerate() {
                    for two in &able[index + 1..] {
                        prop_assert!(!open[*one].claim.conflicts(open[*two].claim));
                    }
                    prop_assert!(!open[..*one].iter().any(|earlier| earlier.claim.conflicts(open[*one].claim)));
                }
                open.remove(able[pick.index(able.len())]);
            }
        }
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken() {
        let turns = Turns::default();
        let first = turns.join(&workshop(), seat(1), Intent::Make);
        let second = turns.join(&workshop(), seat(1), Intent::Make);
        let waiter = tokio::spawn(async move { second.ready().await });
        tokio::task::yield_now().await;
        drop(first);
        waiter.await.unwrap();
    }
}
