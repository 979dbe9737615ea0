//! Making a seat: a list of steps, each with its undo.
//!
//! ```text
//!   check ──► network ──► volume ──► create ──► start ──► inspect
//!     │          │           │          │
//!     │          └───────────┴──────────┴── on failure, taken back from right to left
//!     └── there already: compare, start if it does not run
//! ```
//!
//! A step is written down before the engine is called. When a call fails, the engine may have done it all the
//! same (it died between doing and answering), so the undo does not trust the answer: it looks for what carries
//! this attempt's id. An engine that did not answer may even do it later; [`late`] looks again for a while.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions, StartContainerOptions,
};
use seats::{Created, Disposition, ObjectKind, ProviderError, SeatRef, SeatSpec, Stage, Timeline};

use crate::engine::{Engine, Whom, is_status, status};
use crate::network::NetworkUse;
use crate::payload::{self, Attempt};
use crate::provider::DockerProvider;
use crate::view::{State, View};
use crate::{late, names, volume};

/// How long an undo tries while the engine is away, and how often.
const UNDO_FOR: Duration = Duration::from_secs(30);
const UNDO_PAUSE: Duration = Duration::from_millis(500);

/// How often a create starts over because somebody else makes the same seat, and the pause before the second round,
/// which doubles: about six seconds in all, in which the other one is done or has given up.
const RIVALS: u32 = 8;
const RIVAL_PAUSE: Duration = Duration::from_millis(50);

/// How long a container whose name is taken is looked for, and how often.
const LISTED_TRIES: u32 = 20;
const LISTED_PAUSE: Duration = Duration::from_millis(50);

/// A step of which the effect must be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Volume,
    Container,
}

/// Why an attempt did not make a seat.
enum Missed {
    /// Somebody else is making the same seat right now.
    Rival,
    /// The image was there a moment ago.
    ImageGone(ProviderError),
    Failed(ProviderError),
}

impl From<ProviderError> for Missed {
    fn from(error: ProviderError) -> Self {
        Self::Failed(error)
    }
}

impl DockerProvider {
    pub(crate) async fn make_or_find(
        &self,
        spec: &SeatSpec,
        timeline: &Timeline,
    ) -> Result<Created, ProviderError> {
        let docker = self.client().await?;
        self.guard.demand(&spec.seat).await?;
        let mut image_gone = false;
        for round in 0..RIVALS {
            timeline.enter(Stage::Check);
            if let Some(view) = self.find(&docker, &spec.seat).await?
                && let Some(created) = self.found(&docker, spec, view, timeline).await?
            {
                return Ok(created);
            }
            match self.make(&docker, spec, timeline).await {
                Ok(instance) => return Ok(Created { instance, disposition: Disposition::Made }),
                Err(Missed::Rival) => tokio::time::sleep(RIVAL_PAUSE * 2_u32.pow(round)).await,
                // It is forgotten by now, so the next round pulls it or says that it is not to be had.
                Err(Missed::ImageGone(_)) if !image_gone => image_gone = true,
                Err(Missed::ImageGone(error) | Missed::Failed(error)) => return Err(error),
            }
        }
        Err(ProviderError::InUse {
            kind: ObjectKind::Instance,
            name: names::container(&spec.seat),
            for_whom: Whom::Seat(&spec.seat).to_string(),
            detail: "somebody else makes and removes this seat all the time".to_owned(),
        })
    }

    async fn make(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        timeline: &Timeline,
    ) -> Result<seats::Instance, Missed> {
        let create_id = uuid::Uuid::new_v4().simple().to_string();
        let mut done = Vec::new();
        let network = self.networks.enter(&spec.seat.workshop).await;
        let made = self.steps(docker, spec, &create_id, &network, &mut done, timeline).await;
        match made {
            Ok(view) => {
                self.networks.keep(&network).await;
                let instance = self.instance(&view, Some("it has just been started"));
                self.watch.started(view);
                Ok(instance)
            }
            Err(missed) => {
                timeline.enter(Stage::Undo);
                self.undo(spec, &create_id, &network, &done).await;
                timeline.finish();
                let is_open = matches!(&missed, Missed::Failed(ProviderError::Unavailable { .. }));
                if is_open && done.contains(&Step::Container) {
                    late::sweep(self.engine.clone(), spec.seat.clone(), create_id);
                }
                Err(missed)
            }
        }
    }

    async fn steps(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        create_id: &str,
        network: &NetworkUse,
        done: &mut Vec<Step>,
        timeline: &Timeline,
    ) -> Result<View, Missed> {
        let seat = &spec.seat;
        let image = self.images.ensure(&self.engine, docker, &spec.image, seat, timeline).await?;
        timeline.enter(Stage::Network);
        let network = self.networks.ensure(&self.engine, docker, network, create_id).await?;
        self.guard.demand_network(seat, &network)?;
        timeline.enter(Stage::Volume);
        done.push(Step::Volume);
        volume::ensure(&self.engine, docker, seat, create_id).await?;
        timeline.enter(Stage::Create);
        done.push(Step::Container);
        let attempt = Attempt { create_id, network_id: &network.id, ports: &image.ports };
        let id = self.create_container(docker, spec, &attempt).await?;
        if self.config.shared_network {
            self.attach_shared(docker, seat, &id).await?;
        }
        timeline.enter(Stage::Start);
        self.start_container(docker, spec, &id).await?;
        timeline.enter(Stage::Inspect);
        Ok(self.inspect(docker, seat, &id).await?)
    }

    async fn create_container(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        attempt: &Attempt<'_>,
    ) -> Result<String, Missed> {
        let name = names::container(&spec.seat);
        let whom = Whom::Seat(&spec.seat);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = payload::container(&self.config, spec, attempt);
        match docker.create_container(Some(options), body).await {
            Ok(made) => {
                for warning in made.warnings {
                    tracing::warn!(seat = %spec.seat, warning, "the engine warns");
                }
                Ok(made.id)
            }
            Err(error) if is_status(&error, 409) => Err(self.name_taken(docker, &spec.seat, name).await?),
            // What it refuses for its values it will refuse again: more cpus than it has, an unknown capability.
            Err(error) if is_status(&error, 400) => {
                let detail = status(&error).map(|(_, message)| message.trim().to_owned()).unwrap_or_default();
                Err(ProviderError::Refused { for_whom: whom.to_string(), detail }.into())
            }
            Err(error) if is_status(&error, 404) => {
                self.images.forget(&spec.image);
                Err(Missed::ImageGone(self.engine.explain(error, Stage::Create, &whom)))
            }
            Err(error) => Err(self.engine.explain(error, Stage::Create, &whom).into()),
        }
    }

    /// Who has the name of a seat's container: a rival (another service, or an attempt of a service that was
    /// killed), or somebody who knows nothing of seats. The engine gives out a name before it lists the container.
    async fn name_taken(
        &self,
        docker: &Docker,
        seat: &SeatRef,
        name: String,
    ) -> Result<Missed, ProviderError> {
        for _ in 0..LISTED_TRIES {
            if self.find(docker, seat).await?.is_some() {
                return Ok(Missed::Rival);
            }
            tokio::time::sleep(LISTED_PAUSE).await;
        }
        let for_whom = Whom::Seat(seat).to_string();
        Ok(ProviderError::Foreign { kind: ObjectKind::Instance, name, for_whom }.into())
    }

    /// Attaches a seat to the scripts' shared network, unless it would meet another workshop there.
    async fn attach_shared(&self, docker: &Docker, seat: &SeatRef, id: &str) -> Result<(), ProviderError> {
        let everyone = self.summaries(docker, None).await?;
        if let Some(other) = everyone.iter().find(|other| other.seat.workshop != seat.workshop) {
            let detail = format!(
                "docker.shared_network would cross its seats with those of workshop {}, which is on this host",
                other.seat.workshop
            );
            return Err(ProviderError::Refused { for_whom: Whom::Seat(seat).to_string(), detail });
        }
        // The engine connects a container that is not started yet to anything, and then cannot start it.
        match docker.inspect_network(names::SHARED_NETWORK, None::<InspectNetworkOptions>).await {
            Ok(_) => {}
            Err(error) if is_status(&error, 404) => {
                let detail =
                    format!("docker.shared_network is set and {} is not there", names::SHARED_NETWORK);
                return Err(ProviderError::Refused { for_whom: Whom::Seat(seat).to_string(), detail });
            }
            Err(error) => return Err(self.engine.explain(error, Stage::Network, &Whom::Seat(seat))),
        }
        let endpoint = EndpointSettings {
            aliases: Some(vec![format!("workspace-{}", seat.seat)]),
            ..EndpointSettings::default()
        };
        let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
        match docker.connect_network(names::SHARED_NETWORK, request).await {
            Ok(()) => Ok(()),
            // It is attached already.
            Err(error) if is_status(&error, 403) => Ok(()),
            Err(error) => Err(self.engine.explain(error, Stage::Network, &Whom::Seat(seat))),
        }
    }

    async fn start_container(&self, docker: &Docker, spec: &SeatSpec, id: &str) -> Result<(), ProviderError> {
        match docker.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(()),
            // It runs already.
            Err(error) if is_status(&error, 304) => Ok(()),
            Err(error) if is_status(&error, 404) && is_gone(&error) => {
                Err(ProviderError::Gone { seat: spec.seat.clone() })
            }
            Err(error) => match cannot_run(&error) {
                Some(detail) => Err(ProviderError::ImageUnusable { image: spec.image.clone(), detail }),
                None => Err(self.engine.explain(error, Stage::Start, &Whom::Seat(&spec.seat))),
            },
        }
    }

    pub(crate) async fn inspect(
        &self,
        docker: &Docker,
        seat: &SeatRef,
        id: &str,
    ) -> Result<View, ProviderError> {
        match docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(inspected) => View::of_inspection(&inspected).ok_or_else(|| ProviderError::Failed {
                for_whom: Whom::Seat(seat).to_string(),
                stage: Stage::Inspect,
                detail: "the engine's answer has no state or no labels".to_owned(),
                source: None,
            }),
            Err(error) if is_status(&error, 404) => Err(ProviderError::Gone { seat: seat.clone() }),
            Err(error) => Err(self.engine.explain(error, Stage::Inspect, &Whom::Seat(seat))),
        }
    }

    /// What is already there for the seat; `None` when it went away just now.
    async fn found(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        view: View,
        timeline: &Timeline,
    ) -> Result<Option<Created>, ProviderError> {
        if view.state == State::Removing {
            return self.gone(docker, &view.id, Whom::Seat(&view.seat)).await.map(|()| None);
        }
        let inspected = match docker.inspect_container(&view.id, None::<InspectContainerOptions>).await {
            Ok(inspected) => inspected,
            Err(error) if is_status(&error, 404) => return Ok(None),
            Err(error) => return Err(self.engine.explain(error, Stage::Check, &Whom::Seat(&spec.seat))),
        };
        let differences = crate::compare::differences(spec, &inspected);
        if !differences.is_empty() {
            return Err(ProviderError::Conflict { seat: spec.seat.clone(), differences });
        }
        timeline.enter(Stage::Start);
        match self.bring_up(docker, spec, &view).await {
            Ok(()) => {}
            Err(ProviderError::Gone { .. }) => return Ok(None),
            Err(error) if is_hopeless(&error, view.state) => {
                tracing::warn!(seat = %spec.seat, %error, "the container cannot be started any more; making it anew");
                let removed = Engine::remove_container(docker, &view.id, true).await;
                let whom = Whom::Seat(&spec.seat);
                return removed
                    .map(|()| None)
                    .map_err(|error| self.engine.explain(error, Stage::Start, &whom));
            }
            Err(other) => return Err(other),
        }
        timeline.enter(Stage::Inspect);
        let view = self.inspect(docker, &spec.seat, &view.id).await?;
        let instance = self.probed(view).await;
        Ok(Some(Created { instance, disposition: Disposition::Found }))
    }

    /// Makes a seat that is there run.
    async fn bring_up(&self, docker: &Docker, spec: &SeatSpec, view: &View) -> Result<(), ProviderError> {
        match view.state {
            State::Created => {
                // Its making was interrupted, perhaps before this step.
                if self.config.shared_network {
                    self.attach_shared(docker, &view.seat, &view.id).await?;
                }
                self.start_container(docker, spec, &view.id).await
            }
            State::Exited => self.start_container(docker, spec, &view.id).await,
            State::Paused => {
                let whom = Whom::Seat(&view.seat);
                let unpaused = docker.unpause_container(&view.id).await;
                unpaused.map_err(|error| self.engine.explain(error, Stage::Start, &whom))
            }
            State::Running | State::Restarting | State::Removing | State::Dead => Ok(()),
        }
    }

    /// Takes back what a failed attempt made, for as long as it takes an engine that went away to come back. What
    /// could not be taken back is found by the next create of the seat, and goes with its destroy.
    async fn undo(&self, spec: &SeatSpec, create_id: &str, network: &NetworkUse, done: &[Step]) {
        let until = Instant::now() + UNDO_FOR;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let taken_back = tokio::time::timeout(left, self.take_back(spec, create_id, network, done)).await;
            match taken_back {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::debug!(seat = %spec.seat, %error, "undo goes on"),
                Err(_) => break,
            }
            tokio::time::sleep(UNDO_PAUSE).await;
        }
        tracing::error!(seat = %spec.seat, "a failed create left something behind; create or destroy the seat");
        self.networks.abandon(network).await;
    }

    async fn take_back(
        &self,
        spec: &SeatSpec,
        create_id: &str,
        network: &NetworkUse,
        done: &[Step],
    ) -> Result<(), ProviderError> {
        let docker = self.engine.client().await?;
        let whom = Whom::Seat(&spec.seat);
        let of_attempt = |kind| names::made_labels(kind, &spec.seat, create_id);
        for step in done.iter().rev() {
            match step {
                Step::Container => {
                    let wanted = of_attempt(names::TYPE_CONTAINER);
                    let listed = self.engine.containers(&docker, &wanted, Stage::Undo, &whom).await?;
                    for id in listed.into_iter().filter_map(|container| container.id) {
                        match Engine::remove_container(&docker, &id, true).await {
                            Ok(()) => {}
                            Err(error) if is_status(&error, 404) => {}
                            Err(error) => return Err(self.engine.explain(error, Stage::Undo, &whom)),
                        }
                    }
                }
                Step::Volume => {
                    match volume::remove_all(&self.engine, &docker, &of_attempt(names::TYPE_VOLUME), whom)
                        .await
                    {
                        // A rival's seat has it by now.
                        Ok(()) | Err(ProviderError::InUse { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        self.networks.take_back(&self.engine, &docker, network).await
    }
}

/// Whether a container that is there can only be made anew.
fn is_hopeless(error: &ProviderError, state: State) -> bool {
    match (error, state) {
        // Left over from an interrupted create: it never ran, so nothing is lost.
        (ProviderError::Failed { .. } | ProviderError::ImageUnusable { .. }, State::Created) => true,
        // Its network was removed while it was stopped, and the engine knows it by an id that never comes back. The
        // workspace is a volume and stays.
        (ProviderError::Failed { detail, .. }, State::Exited) => {
            detail.contains("network ") && detail.contains(" not found")
        }
        _ => false,
    }
}

/// What the engine says of a container that its image does not let start: the program or the user is not there, or is
/// for another machine. It answers 400 for the program, and has no status of its own for the user.
fn cannot_run(error: &bollard::errors::Error) -> Option<String> {
    let (code, message) = status(error)?;
    let user = message.contains("unable to find user") || message.contains("unable to find group");
    (code == 400 || user).then(|| message.trim().to_owned())
}

/// A start answers 404 also when the container's network or image is gone; this is about the container.
fn is_gone(error: &bollard::errors::Error) -> bool {
    status(error).is_some_and(|(_, message)| message.contains("No such container"))
}
