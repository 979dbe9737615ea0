//! What a check works with, and what is cleaned up after it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lifecycle::{Lifecycle, LimitsRequest, Policy, SeatRequest, Silent};
use seats::{
    Created, DataPolicy, EnvVars, Instance, Limits, ObjectKind, Provider, SeatBound, SeatRef, SeatSpec,
    Status, Timeline, WorkshopId,
};
use tokio::time::sleep;

use crate::{Harness, Inventory, Stop, TestImage, http};

/// A check's own corner of the infrastructure. Clones share it.
#[derive(Clone)]
pub struct Context(Arc<Shared>);

struct Shared {
    harness: Arc<dyn Harness>,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    workshops: Vec<WorkshopId>,
    services: Vec<Lifecycle>,
    foreign: Vec<(ObjectKind, SeatRef)>,
}

/// Numbers the workshops of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Context {
    pub(crate) fn new(harness: Arc<dyn Harness>) -> Self {
        Self(Arc::new(Shared { harness, used: Mutex::default() }))
    }

    pub(crate) fn harness(&self) -> &dyn Harness {
        self.0.harness.as_ref()
    }

    pub(crate) fn provider(&self) -> Arc<dyn Provider> {
        self.harness().provider()
    }

    /// A workshop that nobody has used before: not another check, and not an earlier run that was killed.
    pub(crate) fn workshop(&self) -> Result<WorkshopId, Stop> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xfff;
        let process = std::process::id() & 0xffff;
        self.claim(&format!("cf-{:06x}{process:04x}{number:x}", now.as_millis() & 0xff_ffff))
    }

    /// A workshop whose id begins with another's, for providers that mistake one for the other.
    pub(crate) fn lookalike(&self, workshop: &WorkshopId) -> Result<WorkshopId, Stop> {
        self.claim(&format!("{workshop}-1"))
    }

    fn claim(&self, text: &str) -> Result<WorkshopId, Stop> {
        let workshop: WorkshopId = text.parse()?;
        self.used().workshops.push(workshop.clone());
        Ok(workshop)
    }

    /// What the suite's seats are like.
    pub(crate) fn spec(&self, workshop: &WorkshopId, seat: u16) -> Result<SeatSpec, Stop> {
        self.spec_of(workshop, seat, TestImage::Good)
    }

    pub(crate) fn spec_of(
        &self,
        workshop: &WorkshopId,
        seat: u16,
        image: TestImage,
    ) -> Result<SeatSpec, Stop> {
        Ok(SeatSpec {
            seat: SeatRef::new(workshop.clone(), SeatBound::default().seat(seat.into())?),
            image: self.harness().image(image)?,
            env: EnvVars::default(),
            limits: self.harness().small(),
            api_key: None,
        })
    }

    /// The same wish, for a service.
    pub(crate) fn request(&self, spec: &SeatSpec) -> SeatRequest {
        let Limits { cpu_millis, memory_mib, pids } = spec.limits;
        SeatRequest {
            seat: spec.seat.clone(),
            image: Some(spec.image.clone()),
            env: spec.env.clone(),
            limits: LimitsRequest {
                cpu_millis: Some(cpu_millis),
                memory_mib: Some(memory_mib),
                pids: Some(pids),
            },
            api_key: spec.api_key.clone(),
        }
    }

    /// A service of its own over a provider of its own.
    pub(crate) fn service(&self) -> Result<Lifecycle, Stop> {
        let limits = self.harness().small();
        let policy = Policy {
            image: self.harness().image(TestImage::Good)?,
            allowed_images: Vec::new(),
            limits,
            ceiling: limits,
            parallel: 4,
            queue: 1000,
            start_timeout: self.harness().start_timeout(),
        };
        let service = Lifecycle::new(self.provider(), policy.checked()?, Arc::new(Silent));
        self.used().services.push(service.clone());
        Ok(service)
    }

    /// How long to wait for one thing.
    pub(crate) fn patience(&self) -> Duration {
        self.harness().patience() / 4
    }

    /// Makes a seat, without waiting until it answers.
    pub(crate) async fn create(&self, provider: &dyn Provider, spec: &SeatSpec) -> Result<Created, Stop> {
        let timeline = Timeline::default();
        provider.prepare(spec, &timeline).await?;
        Ok(provider.create(spec, &timeline).await?)
    }

    /// Makes a seat and waits until it runs.
    pub(crate) async fn up(&self, provider: &dyn Provider, spec: &SeatSpec) -> Result<Instance, Stop> {
        let created = self.create(provider, spec).await?;
        self.running(provider, &created.instance).await
    }

    /// Waits until a seat runs.
    pub(crate) async fn running(
        &self,
        provider: &dyn Provider,
        instance: &Instance,
    ) -> Result<Instance, Stop> {
        let settled = provider.settle(instance, self.patience()).await?;
        ensure!(settled.status == Status::Running, "the seat does not come to run: {settled:?}");
        Ok(settled)
    }

    /// Asks every port of a running seat for `/health`, where endpoints can be reached; once, because `running`
    /// means usable.
    pub(crate) async fn answers(&self, instance: &Instance) -> Result<(), Stop> {
        ensure!(instance.endpoint().is_some(), "a running seat has an endpoint: {instance:?}");
        for port in &instance.ports {
            ensure!(instance.endpoints.contains_key(port), "port {port} has no endpoint: {instance:?}");
        }
        if self.harness().endpoints_are_reachable().is_ok() {
            for endpoint in instance.endpoints.values() {
                http::healthy(endpoint, self.patience()).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop> {
        self.harness().inventory(workshop).await
    }

    /// Nothing at all of the workshop is there.
    pub(crate) async fn nothing_left(&self, workshop: &WorkshopId) -> Result<(), Stop> {
        let left = self.inventory(workshop).await?;
        ensure!(left.is_empty(), "something is left: {left}");
        Ok(())
    }

    /// Nothing of any seat is there; the workshop's network may be.
    pub(crate) async fn no_seat_left(&self, workshop: &WorkshopId) -> Result<(), Stop> {
        let left = self.inventory(workshop).await?;
        ensure!(left.has_no_seat(), "something of a seat is left: {left}");
        Ok(())
    }

    /// Takes a name as somebody else would, until the end of the check.
    pub(crate) async fn plant(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        self.used().foreign.push((kind, seat.clone()));
        self.harness().plant_foreign(kind, seat).await
    }

    /// Lets the check's services end what they do, removes what it made, and looks whether anything stayed.
    pub(crate) async fn clean_up(&self) -> Result<(), Stop> {
        let used = std::mem::take(&mut *self.used());
        for service in used.services {
            let running = service.drain(self.patience()).await;
            ensure!(running == 0, "{running} operations of a drained service still run");
        }
        let mut result = Ok(());
        for (kind, seat) in used.foreign {
            result = result.and(self.harness().remove_foreign(kind, &seat).await);
        }
        for workshop in used.workshops {
            result = result.and(self.remove(&workshop).await);
        }
        result
    }

    async fn remove(&self, workshop: &WorkshopId) -> Result<(), Stop> {
        /// A removal may fail while an aborted call of the check still has its effect; it can be repeated.
        const TRIES: u32 = 5;
        let provider = self.provider();
        let mut left = Ok(());
        for attempt in 0..TRIES {
            sleep(Duration::from_millis(100) * attempt).await;
            let destroyed = provider.destroy_workshop(workshop, DataPolicy::Remove).await;
            left = destroyed.map_err(Stop::from);
            if left.is_ok() {
                left = self.nothing_left(workshop).await;
            }
            if left.is_ok() {
                break;
            }
        }
        left
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
