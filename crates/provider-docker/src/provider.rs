//! The provider: seats as containers of one Docker engine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::InspectContainerOptions;
use seats::{
    Created, DataPolicy, Instance, ObjectKind, Provider, ProviderError, ProviderKind, Scope, SeatRef,
    SeatSpec, Stage, Survey, Timeline, WorkshopId,
};

use crate::engine::{Engine, Whom, is_status};
use crate::guard::{BELIEVED, Guard};
use crate::image::Images;
use crate::names::{self, Labels};
use crate::network::{Networks, Pool};
use crate::view::{State, View};
use crate::watch::Watch;
use crate::{ConfigError, DockerConfig, GuardMode};

/// How long the removal of a container by somebody else is waited for.
const GONE_TRIES: u32 = 300;
const GONE_PAUSE: Duration = Duration::from_millis(100);

/// Seats as containers of one Docker engine.
#[derive(Debug)]
pub struct DockerProvider {
    pub(crate) config: DockerConfig,
    pub(crate) engine: Arc<Engine>,
    pub(crate) networks: Networks,
    pub(crate) images: Images,
    pub(crate) watch: Arc<Watch>,
    pub(crate) guard: Guard,
}

impl DockerProvider {
    /// Makes a provider. Nothing is connected yet: the engine may be down and come up later.
    ///
    /// # Errors
    /// When the configuration cannot be.
    pub fn new(config: DockerConfig) -> Result<Arc<Self>, ConfigError> {
        let pool = Pool::new(config.pool, config.subnet_prefix()?);
        if config.stop_grace >= config.call_timeout {
            return Err(ConfigError::StopGrace);
        }
        Ok(Arc::new(Self {
            engine: Arc::new(Engine::new(&config)),
            networks: Networks::new(pool, config.isolate_seats),
            images: Images::default(),
            watch: Arc::default(),
            guard: Guard::new(config.guard, config.pool, config.isolate_seats),
            config,
        }))
    }

    /// Begins what goes on in the background: keeping the metadata guard in force. Needs a runtime; ends when the
    /// provider is dropped.
    pub fn start(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        if self.guard.mode() != GuardMode::Off {
            tokio::spawn(async move {
                while let Some(provider) = weak.upgrade() {
                    // What it finds is logged by it, and refuses seats where it must.
                    drop(provider.guard.ensure().await);
                    drop(provider);
                    tokio::time::sleep(BELIEVED).await;
                }
            });
        }
    }

    /// Every container in scope, one engine call.
    pub(crate) async fn summaries(
        &self,
        docker: &Docker,
        wanted: Option<Labels>,
    ) -> Result<Vec<View>, ProviderError> {
        let everyone = || Labels::from([(names::TYPE.to_owned(), names::TYPE_CONTAINER.to_owned())]);
        let wanted = wanted.unwrap_or_else(everyone);
        let listed = self.engine.containers(docker, &wanted, Stage::Check, &Whom::Host).await?;
        let mut views: Vec<View> = listed.into_iter().filter_map(View::of_summary).collect();
        // Two containers may claim one seat (somebody renamed one and made another): the one with the name of the
        // seat comes first and speaks for it; destroying removes both.
        views.sort_by_cached_key(|view| (view.seat.clone(), view.name != names::container(&view.seat)));
        views.dedup_by(|later, first| later.seat == first.seat);
        Ok(views)
    }

    pub(crate) async fn find(&self, docker: &Docker, seat: &SeatRef) -> Result<Option<View>, ProviderError> {
        let wanted = names::seat_labels(names::TYPE_CONTAINER, seat);
        Ok(self.summaries(docker, Some(wanted)).await?.into_iter().next())
    }

    /// The instance of a view, from what is known without asking again.
    pub(crate) fn instance(&self, view: &View, silent: Option<&str>) -> Instance {
        let seen = self.watch.of(&view.id);
        view.instance(&self.config, view.status(&seen, silent, self.config.start_timeout))
    }

    /// The instance of a view, probed unless it answered lately.
    pub(crate) async fn probed(&self, view: View) -> Instance {
        let silent = if self.watch.of(&view.id).is_ready() { None } else { self.probe(&view).await };
        self.instance(&view, silent.as_deref())
    }

    /// Waits until a container that is being removed is gone.
    pub(crate) async fn gone(&self, docker: &Docker, id: &str, whom: Whom<'_>) -> Result<(), ProviderError> {
        for _ in 0..GONE_TRIES {
            match docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Err(error) if is_status(&error, 404) => return Ok(()),
                Err(error) => return Err(self.engine.explain(error, Stage::Check, &whom)),
                Ok(_) => tokio::time::sleep(GONE_PAUSE).await,
            }
        }
        Err(ProviderError::InUse {
            kind: ObjectKind::Instance,
            name: id.to_owned(),
            for_whom: whom.to_string(),
            detail: "the engine is still removing it".to_owned(),
        })
    }

    /// A client, with the events followed from now on.
    pub(crate) async fn client(&self) -> Result<Docker, ProviderError> {
        let docker = self.engine.client().await?;
        self.watch.start(&self.engine);
        Ok(docker)
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Docker
    }

    async fn prepare(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<(), ProviderError> {
        timeline.enter(Stage::Image);
        let docker = self.client().await?;
        if self.images.present(&self.engine, &docker, &spec.image, &spec.seat).await?.is_some() {
            return Ok(());
        }
        // A seat that is there already needs no image, and may well outlive it.
        if self.find(&docker, &spec.seat).await?.is_some() {
            return Ok(());
        }
        self.images.ensure(&self.engine, &docker, &spec.image, &spec.seat, timeline).await.map(|_| ())
    }

    async fn create(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError> {
        self.make_or_find(spec, timeline).await
    }

    async fn settle(&self, instance: &Instance, within: Duration) -> Result<Instance, ProviderError> {
        self.wait_until_settled(instance, within).await
    }

    async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        self.remove_seat(seat, data).await
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, ProviderError> {
        let docker = self.client().await?;
        let wanted = match scope {
            Scope::All => None,
            Scope::Workshop(workshop) => Some(names::workshop_labels(names::TYPE_CONTAINER, workshop)),
        };
        let views = self.summaries(&docker, wanted).await?;
        if *scope == Scope::All {
            self.watch.keep_only(|id| views.iter().any(|view| view.id == id));
        }
        Ok(futures_util::future::join_all(views.into_iter().map(|view| self.probed(view))).await)
    }

    async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, ProviderError> {
        let docker = self.client().await?;
        let Some(view) = self.find(&docker, seat).await? else { return Ok(None) };
        if view.state == State::Running && self.watch.of(&view.id).is_ready() {
            return Ok(Some(self.instance(&view, None)));
        }
        Ok(Some(self.judge(&docker, &view).await))
    }

    async fn destroy_workshop(&self, workshop: &WorkshopId, data: DataPolicy) -> Result<(), ProviderError> {
        self.remove_workshop(workshop, data).await
    }

    async fn check(&self) -> Result<Survey, ProviderError> {
        let docker = self.client().await?;
        let version = docker.version().await;
        let version = version.map_err(|error| self.engine.explain(error, Stage::Check, &Whom::Host))?;
        let unknown = || "?".to_owned();
        let summary = format!(
            "Docker Engine {} (API {})",
            version.version.unwrap_or_else(unknown),
            version.api_version.unwrap_or_else(unknown)
        );
        Ok(Survey { summary })
    }
}
