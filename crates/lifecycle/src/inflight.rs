//! What is under way: seats that are being made and cannot be seen in the infrastructure yet.
//!
//! This is not state to rely on, it dies with the process. It lets whoever was answered `202` find the seat while
//! it waits in line, and lets them learn why it failed when nobody was there any more to be told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seats::{Instance, ProviderKind, Scope, SeatRef, Stage, Status, Timeline};

/// How long an unheard failure is shown, and how many are kept.
const FAILURE_KEPT: Duration = Duration::from_secs(15 * 60);
const FAILURES: usize = 1000;

#[derive(Debug)]
struct Under {
    number: u64,
    image: String,
    timeline: Arc<Timeline>,
}

#[derive(Debug)]
struct Failure {
    image: String,
    reason: String,
    at: Instant,
}

#[derive(Debug, Default)]
struct Boards {
    last: u64,
    /// By seat, in the order they came: several creates of one seat may wait for each other.
    under_way: HashMap<SeatRef, Vec<Under>>,
    failures: HashMap<SeatRef, Failure>,
}

/// The creates under way in this process.
#[derive(Clone, Debug)]
pub(crate) struct Inflight {
    provider: ProviderKind,
    boards: Arc<Mutex<Boards>>,
}

impl Inflight {
    pub(crate) fn new(provider: ProviderKind) -> Self {
        Self { provider, boards: Arc::default() }
    }

    /// Puts a create on the board until the guard is dropped.
    pub(crate) fn begin(&self, seat: &SeatRef, image: &str, timeline: Arc<Timeline>) -> Listed {
        let mut boards = self.boards();
        boards.last += 1;
        let number = boards.last;
        boards.failures.remove(seat);
        let under = Under { number, image: image.to_owned(), timeline };
        boards.under_way.entry(seat.clone()).or_default().push(under);
        Listed { inflight: self.clone(), seat: seat.clone(), number }
    }

    /// Remembers a failure that nobody was there to hear.
    pub(crate) fn failed(&self, seat: &SeatRef, image: &str, reason: String) {
        let mut boards = self.boards();
        boards.failures.retain(|_, failure| failure.at.elapsed() < FAILURE_KEPT);
        if boards.failures.len() >= FAILURES {
            let oldest = boards.failures.iter().min_by_key(|(_, failure)| failure.at);
            let oldest = oldest.map(|(seat, _)| seat.clone());
            boards.failures.retain(|seat, _| Some(seat) != oldest.as_ref());
        }
        let failure = Failure { image: image.to_owned(), reason, at: Instant::now() };
        boards.failures.insert(seat.clone(), failure);
    }

    /// Forgets the failures in scope: they are to be destroyed.
    pub(crate) fn forget(&self, scope: &Scope) {
        self.boards().failures.retain(|seat, _| !scope.covers(seat));
    }

    /// Forgets the failure of one seat.
    pub(crate) fn forget_seat(&self, seat: &SeatRef) {
        self.boards().failures.remove(seat);
    }

    /// What is under way, or failed unheard, in scope. Taken *before* the infrastructure is asked: a create that ends
    /// in between is then in both, and not in neither.
    pub(crate) fn snapshot(&self, scope: &Scope) -> Vec<Instance> {
        let boards = self.boards();
        let under = boards.under_way.iter().filter(|(seat, _)| scope.covers(seat));
        let under = under.filter_map(|(seat, line)| line.first().map(|first| self.starting(seat, first)));
        let failed = boards.failures.iter().filter(|(seat, failure)| {
            scope.covers(seat) && failure.at.elapsed() < FAILURE_KEPT && !boards.under_way.contains_key(seat)
        });
        under.chain(failed.map(|(seat, failure)| self.broken(seat, failure))).collect()
    }

    fn starting(&self, seat: &SeatRef, under: &Under) -> Instance {
        let doing = under.timeline.now().map_or_else(
            || "waiting to begin".to_owned(),
            |(stage, note)| note.unwrap_or_else(|| describe(stage).to_owned()),
        );
        self.instance(seat, &under.image, Status::Starting, doing)
    }

    fn broken(&self, seat: &SeatRef, failure: &Failure) -> Instance {
        self.instance(seat, &failure.image, Status::Error, failure.reason.clone())
    }

    fn instance(&self, seat: &SeatRef, image: &str, status: Status, reason: String) -> Instance {
        Instance {
            id: None,
            seat: seat.clone(),
            ip: None,
            status,
            ports: Vec::new(),
            endpoints: std::collections::BTreeMap::new(),
            image: image.to_owned(),
            provider: self.provider,
            created_at: None,
            expires_at: None,
            reason: Some(reason),
        }
    }

    fn boards(&self) -> std::sync::MutexGuard<'_, Boards> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a stage means to someone who waits for it.
fn describe(stage: Stage) -> &'static str {
    match stage {
        Stage::Queue => "waiting in line",
        Stage::Check => "looking for the seat",
        Stage::Image => "fetching the image",
        Stage::Network => "making the workshop's network",
        Stage::Volume => "making the data volume",
        Stage::Create => "making the instance",
        Stage::Snapshot => "making a snapshot that seats of its kind go on from",
        Stage::Restore => "starting the instance from a snapshot",
        Stage::Start => "starting the instance",
        Stage::Inspect => "reading the instance's address",
        Stage::Ready => "waiting until the workspace answers",
        Stage::Undo => "taking back a failed create",
    }
}

/// Adds to a listing what the infrastructure did not show, and keeps it in order.
pub(crate) fn complete(listed: &mut Vec<Instance>, mut snapshot: Vec<Instance>) {
    snapshot.retain(|one| !listed.iter().any(|known| known.seat == one.seat));
    if !snapshot.is_empty() {
        listed.append(&mut snapshot);
        listed.sort_by(|one, two| one.seat.cmp(&two.seat));
    }
}

/// A create on the board.
#[derive(Debug)]
pub(crate) struct Listed {
    inflight: Inflight,
    seat: SeatRef,
    number: u64,
}

impl Listed {
    /// The seat as the board shows it.
    pub(crate) fn instance(&self) -> Option<Instance> {
        let boards = self.inflight.boards();
        let line = boards.under_way.get(&self.seat)?;
        line.first().map(|under| self.inflight.starting(&self.seat, under))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut boards = self.inflight.boards();
        let Some(line) = boards.under_way.get_mut(&self.seat) else { return };
        line.retain(|under| under.number != self.number);
        if line.is_empty() {
            boards.under_way.remove(&self.seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use seats::SeatBound;

    use super::*;

    fn seat(number: u64) -> SeatRef {
        SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(number).unwrap())
    }

    fn listing(inflight: &Inflight) -> Vec<(u16, Status)> {
        let mut listed = Vec::new();
        complete(&mut listed, inflight.snapshot(&Scope::All));
        listed.iter().map(|instance| (instance.seat.seat.get(), instance.status)).collect()
    }

    #[test]
    fn shows_what_is_under_way_in_order_and_forgets_what_ended() {
        let inflight = Inflight::new(ProviderKind::Sim);
        let ten = inflight.begin(&seat(10), "img", Arc::default());
        let two = inflight.begin(&seat(2), "img", Arc::default());
        let again = inflight.begin(&seat(2), "img", Arc::default());
        assert_eq!(listing(&inflight), [(2, Status::Starting), (10, Status::Starting)]);
        drop((ten, two));
        assert_eq!(listing(&inflight), [(2, Status::Starting)]);
        drop(again);
        assert_eq!(listing(&inflight), []);
    }

    #[test]
    fn an_unheard_failure_is_shown_until_the_next_try_or_the_destroy() {
        let inflight = Inflight::new(ProviderKind::Sim);
        inflight.failed(&seat(1), "img", "no room".into());
        inflight.failed(&seat(2), "img", "no room".into());
        assert_eq!(listing(&inflight), [(1, Status::Error), (2, Status::Error)]);
        drop(inflight.begin(&seat(1), "img", Arc::default()));
        assert_eq!(listing(&inflight), [(2, Status::Error)]);
        inflight.forget(&Scope::Workshop("abc".parse().unwrap()));
        assert_eq!(listing(&inflight), []);
    }

    #[test]
    fn of_too_many_failures_the_oldest_goes() {
        let inflight = Inflight::new(ProviderKind::Sim);
        let seats = SeatBound::widest();
        for number in 1..=FAILURES as u64 + 1 {
            let seat = SeatRef::new("abc".parse().unwrap(), seats.seat(number).unwrap());
            inflight.failed(&seat, "img", "no room".into());
        }
        let kept: Vec<u16> = listing(&inflight).iter().map(|(seat, _)| *seat).collect();
        assert_eq!((kept.len(), kept[0]), (FAILURES, 2));
    }

    #[test]
    fn the_infrastructure_has_the_last_word() {
        let inflight = Inflight::new(ProviderKind::Sim);
        let under = inflight.begin(&seat(1), "img", Arc::default());
        let mut real = under.instance().unwrap();
        real.status = Status::Running;
        let mut listed = vec![real];
        complete(&mut listed, inflight.snapshot(&Scope::All));
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].status, Status::Running);
    }
}
