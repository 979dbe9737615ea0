//! The service around a provider.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seats::{
    DataPolicy, Instance, Measurement, Provider, ProviderError, ProviderKind, Scope, SeatRef, Survey,
    WorkshopId,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::admission::{Admission, Full};
use crate::create::Lane;
use crate::inflight::{self, Inflight};
use crate::turns::{Claim, Intent, Turn, Turns};
use crate::{CreateReply, LifecycleError, Operation, Policy, SeatRequest, Telemetry};

/// Removing is cheap for the engine next to making, so more of it goes at once than creates.
const TEARDOWNS_PER_CREATE: usize = 4;

/// Workshops and seats over one provider. Cloning is cheap; clones are the same service.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) policy: Policy,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) turns: Turns,
    pub(crate) admission: Admission,
    pub(crate) inflight: Inflight,
    pub(crate) tasks: TaskTracker,
    pub(crate) draining: CancellationToken,
    teardowns: Arc<Semaphore>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("provider", &self.provider.kind()).finish_non_exhaustive()
    }
}

/// How much is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Creates that work now.
    pub working: usize,
    /// Creates that wait in line.
    pub waiting: usize,
}

impl Lifecycle {
    /// Puts a service around a provider. `policy` comes checked ([`Policy::checked`]).
    pub fn new(provider: Arc<dyn Provider>, policy: Policy, telemetry: Arc<dyn Telemetry>) -> Self {
        let inner = Inner {
            turns: Turns::default(),
            admission: Admission::new(policy.parallel, policy.queue),
            inflight: Inflight::new(provider.kind()),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            teardowns: Arc::new(Semaphore::new(policy.parallel.saturating_mul(TEARDOWNS_PER_CREATE))),
            provider,
            policy,
            telemetry,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Which provider serves.
    #[must_use]
    pub fn provider(&self) -> ProviderKind {
        self.inner.provider.kind()
    }

    /// What the provider counts and measures of its seats, beyond what every provider has.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measurement> {
        self.inner.provider.measurements()
    }

    /// The operator's choices.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// How much is under way now.
    #[must_use]
    pub fn load(&self) -> Load {
        Load { working: self.inner.admission.working(), waiting: self.inner.admission.waiting() }
    }

    /// Makes a seat, or finds the one that is there, and waits at most `wait` for it to answer. The work goes on
    /// when the wait is over or the returned future is dropped; it ends with the seat made, or with nothing left.
    ///
    /// # Errors
    /// See [`LifecycleError`]; after an error nothing of the seat is left that this call made, unless the
    /// infrastructure went away before it could be taken back.
    pub async fn create(&self, request: SeatRequest, wait: Duration) -> Result<CreateReply, LifecycleError> {
        self.refuse_when_draining()?;
        let ticket = self.inner.admission.enter().map_err(busy)?;
        self.begin_create(request, Lane { ticket, window: None })?.wait(wait).await
    }

    /// Removes a seat. Success also when there was none.
    ///
    /// # Errors
    /// When something of it is still there; asking again is safe.
    pub async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), LifecycleError> {
        self.refuse_when_draining()?;
        self.begin_destroy(seat, data).await
    }

    /// Takes a place in line for a destroy at once, and does it when polled.
    pub(crate) fn begin_destroy(
        &self,
        seat: &SeatRef,
        data: DataPolicy,
    ) -> impl Future<Output = Result<(), LifecycleError>> + Send + use<> {
        let turn = self.inner.turns.join(&seat.workshop, Claim::Seat(seat.seat), Intent::Remove);
        self.inner.inflight.forget_seat(seat);
        let (inner, target) = (self.inner.clone(), seat.clone());
        let work = async move { inner.provider.destroy(&target, data).await };
        let (lifecycle, what) = (self.clone(), seat.to_string());
        async move { lifecycle.tear_down(Operation::Destroy, what, turn, work).await }
    }

    /// Removes every seat of a workshop and what they share. Success also when there was nothing.
    ///
    /// # Errors
    /// When something of it is still there; asking again is safe.
    pub async fn destroy_workshop(
        &self,
        workshop: &WorkshopId,
        data: DataPolicy,
    ) -> Result<(), LifecycleError> {
        self.refuse_when_draining()?;
        let turn = self.inner.turns.join(workshop, Claim::Workshop, Intent::Remove);
        self.inner.inflight.forget(&Scope::Workshop(workshop.clone()));
        let (inner, target) = (self.inner.clone(), workshop.clone());
        let work = async move { inner.provider.destroy_workshop(&target, data).await };
        self.tear_down(Operation::DestroyWorkshop, workshop.to_string(), turn, work).await
    }

    /// The seats in scope by workshop and number, those still waiting in line included.
    ///
    /// # Errors
    /// When the infrastructure does not answer.
    pub async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, LifecycleError> {
        let began = Instant::now();
        let under_way = self.inner.inflight.snapshot(scope);
        let listed = self.inner.provider.list(scope).await;
        self.count(Operation::List, listed.as_ref().map(|_| ()), began);
        let mut listed = listed?;
        inflight::complete(&mut listed, under_way);
        Ok(listed)
    }

    /// One seat, `None` when it is not there.
    ///
    /// # Errors
    /// When the infrastructure does not answer.
    pub async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, LifecycleError> {
        let under_way = self.inner.inflight.snapshot(&Scope::Workshop(seat.workshop.clone()));
        if let Some(instance) = self.inner.provider.get(seat).await? {
            return Ok(Some(instance));
        }
        Ok(under_way.into_iter().find(|instance| instance.seat == *seat))
    }

    /// Asks the provider whether it can serve.
    ///
    /// # Errors
    /// With what is missing.
    pub async fn check(&self) -> Result<Survey, LifecycleError> {
        Ok(self.inner.provider.check().await?)
    }

    /// Takes no new work from now on, tells what waits in line to try elsewhere, and lets what runs end, for at
    /// most `within`. Returns how many operations still run.
    pub async fn drain(&self, within: Duration) -> usize {
        self.inner.draining.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(within, self.inner.tasks.wait()).await.is_ok() {
            return 0;
        }
        self.inner.tasks.len()
    }

    async fn tear_down<F>(
        &self,
        operation: Operation,
        what: String,
        turn: Turn,
        work: F,
    ) -> Result<(), LifecycleError>
    where
        F: Future<Output = Result<(), ProviderError>> + Send + 'static,
    {
        let lifecycle = self.clone();
        let span = tracing::info_span!("destroy", %what);
        let task = async move {
            let began = Instant::now();
            turn.ready().await;
            let permit = lifecycle.inner.teardowns.acquire().await;
            let outcome = work.await;
            drop((permit, turn));
            lifecycle.count(operation, outcome.as_ref().copied(), began);
            if let Err(error) = &outcome {
                tracing::warn!(code = error.code(), %error, "destroy failed");
            }
            outcome
        };
        let ended = self.inner.tasks.spawn(task.instrument(span)).await;
        Ok(ended.map_err(|_| LifecycleError::Lost { what })??)
    }

    pub(crate) fn refuse_when_draining(&self) -> Result<(), LifecycleError> {
        if self.inner.draining.is_cancelled() { Err(LifecycleError::Draining) } else { Ok(()) }
    }

    pub(crate) fn count<E: Coded>(&self, operation: Operation, outcome: Result<(), E>, began: Instant) {
        let outcome = outcome.map_or_else(|error| error.outcome(), |()| "ok");
        self.inner.telemetry.operation(operation, self.provider(), outcome, began.elapsed());
    }
}

/// The line is full.
pub(crate) fn busy(full: Full) -> LifecycleError {
    LifecycleError::Busy { waiting: full.waiting, retry_after: full.retry_after }
}

/// An error with a stable word for programs.
pub(crate) trait Coded {
    fn outcome(&self) -> &'static str;
}

impl Coded for &ProviderError {
    fn outcome(&self) -> &'static str {
        self.code()
    }
}

impl Coded for &LifecycleError {
    fn outcome(&self) -> &'static str {
        self.code()
    }
}
