//! How a class converges.
//!
//! The places in line of all seats are taken at once, when the request is handled, so that whatever is asked for
//! later (a destroy of the workshop, say) comes after the whole class. A class that prunes takes a place for the
//! whole workshop before those: what was asked for earlier is done when it looks for surplus seats, and what is
//! asked for later has not begun. One task then collects the answers. It
//! watches the timelines of the seats by a slow tick rather than being told of every step: a class that pulls an
//! image for ten minutes produces a handful of events and not thousands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use seats::{Instance, Scope, SeatId, Stage, Status, Timeline};
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use crate::create::{CreateJob, Lane};
use crate::service::busy;
use crate::turns::{Claim, Intent, Turn};
use crate::{
    ClassEvent, ClassReport, ClassRequest, ClassRun, CreateReply, Lifecycle, LifecycleError, SeatOutcome,
    SeatReport,
};

/// How often stage changes are looked for.
const TICK: Duration = Duration::from_millis(250);

/// Room in the channel of events. Every answer has room for certain; stage changes are left out when a slow
/// watcher has let more than this many pile up.
const STAGES_AHEAD: usize = 1024;

impl Lifecycle {
    /// Brings a class to the wished state, its seats side by side. The work goes on when the returned
    /// [`ClassRun`] is dropped.
    ///
    /// # Errors
    /// When the request as a whole is refused (image, limits, line full, shutting down): nothing was done.
    pub fn converge(&self, class: ClassRequest) -> Result<ClassRun, LifecycleError> {
        self.refuse_when_draining()?;
        self.inner.admission.has_room().map_err(busy)?;
        let whole =
            class.prune.map(|_| self.inner.turns.join(&class.workshop, Claim::Workshop, Intent::Make));
        let window = Arc::new(Semaphore::new(self.inner.policy.parallel));
        let mut jobs = Vec::with_capacity(class.seats.len());
        for seat in &class.seats {
            let ticket = self.inner.admission.enter_with_class();
            let lane = Lane { ticket, window: Some(window.clone()) };
            // What is refused is refused for the first seat: image and limits are those of the class.
            jobs.push((*seat, self.begin_create(class.seat(*seat), lane)?));
        }
        let reserved = class.seats.len() + usize::from(seats::SeatBound::MAX) + 1;
        let (events, receiver) = mpsc::channel(reserved + STAGES_AHEAD);
        let gathering = Gathering {
            lifecycle: self.clone(),
            began: Instant::now(),
            events,
            reserved,
            watched: jobs.iter().map(|(seat, job)| (*seat, (job.timeline().clone(), None))).collect(),
            before: BTreeMap::new(),
            reports: BTreeMap::new(),
        };
        let span = tracing::info_span!("class", workshop = %class.workshop, seats = class.seats.len());
        self.inner.tasks.spawn(gathering.run(class, jobs, whole).instrument(span));
        Ok(ClassRun { events: receiver })
    }
}

type Seen = Option<(Stage, Option<String>)>;

/// The task that collects the answers of a class.
struct Gathering {
    lifecycle: Lifecycle,
    began: Instant,
    events: mpsc::Sender<ClassEvent>,
    reserved: usize,
    watched: BTreeMap<SeatId, (Arc<Timeline>, Seen)>,
    /// What was there when the class began.
    before: BTreeMap<SeatId, Instance>,
    reports: BTreeMap<SeatId, SeatReport>,
}

impl Gathering {
    async fn run(mut self, class: ClassRequest, jobs: Vec<(SeatId, CreateJob)>, whole: Option<Turn>) {
        if let Some(whole) = &whole {
            whole.ready().await;
        }
        self.before = self.look_around(&class).await;
        let surplus = self.before.values().filter(|one| !class.seats.contains(&one.seat.seat)).cloned();
        let surplus: Vec<Instance> = surplus.collect();
        let mut answers: FuturesUnordered<_> =
            jobs.into_iter().map(|(seat, job)| async move { (seat, job.finish().await) }).collect();
        let mut removals: FuturesUnordered<_> = surplus
            .into_iter()
            .map(|instance| {
                let removal = class.prune.map(|data| self.lifecycle.begin_destroy(&instance.seat, data));
                async move {
                    match removal {
                        Some(removal) => (instance, removal.await.map(|()| true)),
                        None => (instance, Ok(false)),
                    }
                }
            })
            .collect();
        drop(whole);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some((seat, answer)) = answers.next() => self.answered(seat, answer),
                Some((instance, removed)) = removals.next() => self.removed(instance, &removed),
                _ = tick.tick(), if !answers.is_empty() => self.look(),
                else => break,
            }
        }
        let report = ClassReport {
            workshop: class.workshop,
            seats: std::mem::take(&mut self.reports).into_values().collect(),
            took: self.began.elapsed(),
        };
        let failed = report.seats.iter().filter(|seat| seat.outcome.is_failure()).count();
        tracing::info!(failed, took_ms = report.took.as_millis(), "class converged");
        self.send(ClassEvent::Done(report));
    }

    /// The seats of the workshop that are there.
    async fn look_around(&self, class: &ClassRequest) -> BTreeMap<SeatId, Instance> {
        let scope = Scope::Workshop(class.workshop.clone());
        match self.lifecycle.inner.provider.list(&scope).await {
            Ok(listed) => listed.into_iter().map(|instance| (instance.seat.seat, instance)).collect(),
            Err(error) => {
                // The seats themselves fail for the same reason, and their reports say so.
                tracing::warn!(%error, "cannot look for surplus seats");
                BTreeMap::new()
            }
        }
    }

    fn answered(&mut self, seat: SeatId, answer: Result<CreateReply, LifecycleError>) {
        self.watched.remove(&seat);
        let took = self.began.elapsed();
        let report = match answer {
            Ok(reply) => {
                let broken = matches!(reply.instance.status, Status::Error | Status::Stopped);
                let outcome = match reply.disposition {
                    _ if broken => SeatOutcome::Failed,
                    seats::Disposition::Made => SeatOutcome::Created,
                    seats::Disposition::Found => SeatOutcome::Unchanged,
                };
                SeatReport {
                    seat,
                    outcome,
                    code: broken.then_some("seat_broken"),
                    reason: reply.instance.reason.clone(),
                    instance: Some(reply.instance),
                    timings: reply.timings,
                    took,
                }
            }
            Err(error) => {
                let conflict = error.code() == "seat_conflict";
                SeatReport {
                    seat,
                    outcome: if conflict { SeatOutcome::Conflict } else { SeatOutcome::Failed },
                    instance: self.before.get(&seat).filter(|_| conflict).cloned(),
                    code: Some(error.code()),
                    reason: Some(error.reason()),
                    timings: Vec::new(),
                    took,
                }
            }
        };
        self.report(report);
    }

    fn removed(&mut self, instance: Instance, removed: &Result<bool, LifecycleError>) {
        let (outcome, code, reason) = match removed {
            Ok(true) => (SeatOutcome::Destroyed, None, None),
            Ok(false) => (SeatOutcome::Surplus, None, None),
            Err(error) => (SeatOutcome::Failed, Some(error.code()), Some(error.reason())),
        };
        let seat = instance.seat.seat;
        let instance = (outcome != SeatOutcome::Destroyed).then_some(instance);
        let took = self.began.elapsed();
        self.report(SeatReport { seat, outcome, instance, code, reason, timings: Vec::new(), took });
    }

    fn report(&mut self, report: SeatReport) {
        self.send(ClassEvent::Seat(Box::new(report.clone())));
        self.reports.insert(report.seat, report);
    }

    /// Tells which seats entered another stage since the last look.
    fn look(&mut self) {
        let mut news = Vec::new();
        for (seat, (timeline, seen)) in &mut self.watched {
            let now = timeline.now();
            if now != *seen {
                if let Some((stage, note)) = now.clone() {
                    news.push(ClassEvent::Stage { seat: *seat, stage, note });
                }
                *seen = now;
            }
        }
        for event in news {
            if self.events.capacity() > self.reserved {
                self.send(event);
            }
        }
    }

    fn send(&self, event: ClassEvent) {
        // Full cannot be (see `reserved`); closed means that nobody watches any more.
        drop(self.events.try_send(event));
    }
}
