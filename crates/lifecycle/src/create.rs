//! One create, from its place in line to its answer.
//!
//! [`Lifecycle::begin_create`] does everything that must happen in the order of the requests (the place in line,
//! the ticket, the board) before it returns; the rest is a task. [`CreateJob::wait`] is what a caller holds: it can
//! be dropped at any moment without effect on the work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seats::{Created, Disposition, Instance, SeatRef, SeatSpec, Stage, Status, Timeline};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::Instrument;

use crate::admission::{Permit, Ticket};
use crate::inflight::Listed;
use crate::service::Lifecycle;
use crate::turns::{Claim, Intent, Turn};
use crate::{CreateReply, LifecycleError, Operation, SeatRequest};

/// How a create comes to its permit.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Its place inside.
    pub(crate) ticket: Ticket,
    /// For a seat of a class: the window of that class. Only as many of its seats stand in the common line as can
    /// work at once, so that two classes (or a class and a single seat) share the permits instead of the first
    /// one taking them all.
    pub(crate) window: Option<Arc<Semaphore>>,
}

/// Leave to work, held until the engine is done.
#[derive(Debug)]
struct Admitted {
    _permit: Permit,
    _window: Option<OwnedSemaphorePermit>,
}

/// What the work tells, and whether anybody listens. One lock over both, so that at every moment a create is on
/// the board, or has told that it is started, or has told how it ended.
#[derive(Debug)]
struct Slot {
    listed: Option<Listed>,
    started: Option<Created>,
    ended: Option<Result<CreateReply, LifecycleError>>,
    heard: bool,
}

/// A create that runs. Dropping it stops listening, not the work.
#[derive(Debug)]
pub(crate) struct CreateJob {
    seat: SeatRef,
    timeline: Arc<Timeline>,
    slot: Arc<Mutex<Slot>>,
    /// Closes when the work ends, however it ends.
    end: oneshot::Receiver<()>,
}

impl CreateJob {
    /// The stages of the work, as they go.
    pub(crate) fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// Waits for the answer, however long it takes.
    pub(crate) async fn finish(mut self) -> Result<CreateReply, LifecycleError> {
        drop((&mut self.end).await);
        self.ended()
    }

    /// Waits for the answer, or for `patience` to end: then the answer is the seat as it is by then.
    pub(crate) async fn wait(mut self, patience: Duration) -> Result<CreateReply, LifecycleError> {
        match tokio::time::timeout(patience, &mut self.end).await {
            Ok(_) => self.ended(),
            Err(_) => self.so_far(),
        }
    }

    /// The answer of work that ended; none is there when it panicked.
    fn ended(self) -> Result<CreateReply, LifecycleError> {
        let answer = lock(&self.slot).ended.take();
        answer.unwrap_or_else(|| Err(LifecycleError::Lost { what: self.seat.to_string() }))
    }

    /// The answer as far as the work has come; from here on nobody listens.
    fn so_far(self) -> Result<CreateReply, LifecycleError> {
        let mut slot = lock(&self.slot);
        slot.heard = false;
        if let Some(answer) = slot.ended.take() {
            return answer;
        }
        let timings = self.timeline.timings();
        if let Some(Created { instance, disposition }) = slot.started.take() {
            return Ok(CreateReply { instance, disposition, timings });
        }
        match slot.listed.as_ref().and_then(Listed::instance) {
            Some(instance) => Ok(CreateReply { instance, disposition: Disposition::Made, timings }),
            None => Err(LifecycleError::Lost { what: self.seat.to_string() }),
        }
    }
}

impl Drop for CreateJob {
    fn drop(&mut self) {
        lock(&self.slot).heard = false;
    }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lifecycle {
    /// Takes a place in line for a create and starts its task.
    pub(crate) fn begin_create(&self, request: SeatRequest, lane: Lane) -> Result<CreateJob, LifecycleError> {
        let spec = self.inner.policy.resolve(request)?;
        let seat = spec.seat.clone();
        let timeline = Arc::new(Timeline::default());
        timeline.enter(Stage::Queue);
        let turn = self.inner.turns.join(&seat.workshop, Claim::Seat(seat.seat), Intent::Make);
        let listed = self.inner.inflight.begin(&seat, spec.image.as_str(), timeline.clone());
        let slot = Slot { listed: Some(listed), started: None, ended: None, heard: true };
        let slot = Arc::new(Mutex::new(slot));
        let (end, ended) = oneshot::channel();
        let job = CreateJob { seat, timeline: timeline.clone(), slot: slot.clone(), end: ended };
        let lifecycle = self.clone();
        let span = tracing::info_span!("create", seat = %spec.seat);
        let work = async move {
            let mut turn = Some(turn);
            let outcome = lifecycle.work(&spec, &mut turn, lane, &timeline, &slot).await;
            lifecycle.inner.telemetry.stages(lifecycle.provider(), &timeline.timings());
            let superseded = turn.as_ref().is_some_and(Turn::is_superseded);
            lifecycle.tell(&spec, &slot, outcome, superseded);
            // After a failure the turn ends here, so that a destroy that waits for it finds nothing told later.
            drop((turn, end));
        };
        self.inner.tasks.spawn(work.instrument(span));
        Ok(job)
    }

    /// Ends a create: off the board, and the answer to whoever listens. A failure that nobody hears is put up for
    /// those who look for the seat later.
    fn tell(
        &self,
        spec: &SeatSpec,
        slot: &Mutex<Slot>,
        outcome: Result<CreateReply, LifecycleError>,
        superseded: bool,
    ) {
        let mut slot = lock(slot);
        slot.listed = None;
        if let Err(error) = &outcome {
            tracing::warn!(code = error.code(), %error, "create failed");
            if !slot.heard && !superseded && error.leaves_the_seat_missing() {
                self.inner.inflight.failed(&spec.seat, spec.image.as_str(), error.reason());
            }
        }
        slot.ended = Some(outcome);
    }

    async fn work(
        &self,
        spec: &SeatSpec,
        place: &mut Option<Turn>,
        lane: Lane,
        timeline: &Timeline,
        slot: &Mutex<Slot>,
    ) -> Result<CreateReply, LifecycleError> {
        let began = Instant::now();
        let Some(turn) = place.as_ref() else { return Err(LifecycleError::Draining) };
        let admitted = tokio::select! {
            biased;
            () = turn.superseded() => Err(LifecycleError::Superseded { seat: spec.seat.clone() }),
            () = self.inner.draining.cancelled() => Err(LifecycleError::Draining),
            admitted = self.come_in(spec, turn, lane, timeline) => admitted,
        };
        let outcome = match admitted {
            Ok(admitted) => {
                let created = self.inner.provider.create(spec, timeline).await;
                drop(admitted);
                created.map_err(LifecycleError::from)
            }
            Err(error) => Err(error),
        };
        self.count(Operation::Create, outcome.as_ref().map(|_| ()), began);
        let created = outcome.inspect_err(|_| timeline.finish())?;
        {
            // The infrastructure shows the seat from here on.
            let mut slot = lock(slot);
            slot.listed = None;
            slot.started = Some(created.clone());
        }
        // The turn ends with the engine work: a destroy need not wait for a workspace that never answers.
        *place = None;
        let instance = self.settle(created.instance, timeline).await?;
        Ok(CreateReply { instance, disposition: created.disposition, timings: timeline.timings() })
    }

    /// Everything before the engine is asked to make something; safe to drop.
    async fn come_in(
        &self,
        spec: &SeatSpec,
        turn: &Turn,
        lane: Lane,
        timeline: &Timeline,
    ) -> Result<Admitted, LifecycleError> {
        turn.ready().await;
        self.inner.provider.prepare(spec, timeline).await?;
        timeline.enter(Stage::Queue);
        let window = match lane.window {
            Some(window) => window.acquire_owned().await.ok(),
            None => None,
        };
        Ok(Admitted { _permit: lane.ticket.admit().await, _window: window })
    }

    async fn settle(&self, instance: Instance, timeline: &Timeline) -> Result<Instance, LifecycleError> {
        if instance.status != Status::Starting {
            timeline.finish();
            return Ok(instance);
        }
        let began = Instant::now();
        timeline.enter(Stage::Ready);
        let settled = tokio::select! {
            settled = self.inner.provider.settle(&instance, self.inner.policy.start_timeout) => settled,
            // The seat is started and stays; who asked is told how far it is.
            () = self.inner.draining.cancelled() => Ok(instance.clone()),
        };
        timeline.finish();
        self.count(Operation::Settle, settled.as_ref().map(|_| ()), began);
        Ok(settled?)
    }
}
