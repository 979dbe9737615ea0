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
//! this attempt's id.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use seats::{Created, Disposition, ObjectKind, ProviderError, SeatRef, SeatSpec, Stage, Timeline};

use crate::engine::{Whom, is_status, status};
use crate::network::NetworkUse;
use crate::payload::{self, Attempt};
use crate::provider::DockerProvider;
use crate::view::{State, View};
use crate::{names, volume};

/// How long an undo tries while the engine is away, and how often.
const UNDO_TRIES: u32 = 60;
const UNDO_PAUSE: Duration = Duration::from_millis(500);

/// How long the removal of an earlier instance by somebody else is waited for.
const REMOVAL_TRIES: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// A step of which the effect must be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Volume,
    Container,
}

impl DockerProvider {
    pub(crate) async fn make_or_find(
        &self,
        spec: &SeatSpec,
        timeline: &Timeline,
    ) -> Result<Created, ProviderError> {
        timeline.enter(Stage::Check);
        let docker = self.engine.client().await?;
        if let Some(view) = self.find(&docker, &spec.seat).await?
            && let Some(created) = self.found(&docker, spec, view, timeline).await?
        {
            return Ok(created);
        }
        self.guard.demand(&spec.seat).await?;
        let created = self.make(&docker, spec, timeline).await?;
        Ok(Created { instance: created, disposition: Disposition::Made })
    }

    async fn make(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        timeline: &Timeline,
    ) -> Result<seats::Instance, ProviderError> {
        let create_id = uuid::Uuid::new_v4().simple().to_string();
        let mut done = Vec::new();
        let network = self.networks.enter(&spec.seat.workshop).await;
        let made = self.steps(docker, spec, &create_id, &network, &mut done, timeline).await;
        match made {
            Ok(view) => {
                self.networks.release(&self.engine, docker, &network, true).await?;
                let instance = self.instance(&view, Some("it has just been started"));
                self.watch.started(view);
                Ok(instance)
            }
            Err(error) => {
                timeline.enter(Stage::Undo);
                self.undo(spec, &create_id, &network, &done).await;
                timeline.finish();
                Err(error)
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
    ) -> Result<View, ProviderError> {
        let seat = &spec.seat;
        let image = self.images.ensure(&self.engine, docker, &spec.image, seat, timeline).await?;
        timeline.enter(Stage::Network);
        let network_id = self.networks.ensure(&self.engine, docker, network, create_id).await?;
        timeline.enter(Stage::Volume);
        done.push(Step::Volume);
        volume::ensure(&self.engine, docker, seat, create_id).await?;
        timeline.enter(Stage::Create);
        done.push(Step::Container);
        let attempt = Attempt { create_id, network_id: &network_id, ports: &image.ports };
        let id = self.create_container(docker, spec, &attempt).await?;
        if self.config.shared_network {
            self.attach_shared(docker, seat, &id).await?;
        }
        timeline.enter(Stage::Start);
        self.start_container(docker, seat, &id).await?;
        timeline.enter(Stage::Inspect);
        self.inspect(docker, seat, &id).await
    }

    async fn create_container(
        &self,
        docker: &Docker,
        spec: &SeatSpec,
        attempt: &Attempt<'_>,
    ) -> Result<String, ProviderError> {
        let name = names::container(&spec.seat);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = payload::container(&self.config, spec, attempt);
        match docker.create_container(Some(options), body).await {
            Ok(made) => {
                for warning in made.warnings {
                    tracing::warn!(seat = %spec.seat, warning, "the engine warns");
                }
                Ok(made.id)
            }
            // No seat carries our labels (that was checked), so whatever has the name does not.
            Err(error) if is_status(&error, 409) => {
                let for_whom = Whom::Seat(&spec.seat).to_string();
                Err(ProviderError::Foreign { kind: ObjectKind::Instance, name, for_whom })
            }
            Err(error) => {
                if is_status(&error, 404) {
                    self.images.forget(&spec.image);
                }
                Err(self.engine.explain(error, Stage::Create, &Whom::Seat(&spec.seat)))
            }
        }
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
        let connected = docker.connect_network(names::SHARED_NETWORK, request).await;
        connected.map_err(|error| self.engine.explain(error, Stage::Network, &Whom::Seat(seat)))
    }

    pub(crate) async fn start_container(
        &self,
        docker: &Docker,
        seat: &SeatRef,
        id: &str,
    ) -> Result<(), ProviderError> {
        match docker.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(()),
            // It runs already.
            Err(error) if is_status(&error, 304) => Ok(()),
            Err(error) if is_status(&error, 404) && is_gone(&error) => {
                Err(ProviderError::Gone { seat: seat.clone() })
            }
            Err(error) => Err(self.engine.explain(error, Stage::Start, &Whom::Seat(seat))),
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
            return self.await_removal(docker, &view).await.map(|()| None);
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
        if matches!(view.state, State::Created | State::Exited) {
            timeline.enter(Stage::Start);
            match self.start_container(docker, &spec.seat, &view.id).await {
                Ok(()) => {}
                Err(ProviderError::Gone { .. }) => return Ok(None),
                // Left over from an interrupted create, and its network is gone: it never ran, so nothing is lost
                // when it is made anew.
                Err(ProviderError::Failed { .. }) if view.state == State::Created => {
                    let options = RemoveContainerOptionsBuilder::default().force(true).build();
                    let removed = docker.remove_container(&view.id, Some(options)).await;
                    let whom = Whom::Seat(&spec.seat);
                    return removed
                        .map(|()| None)
                        .map_err(|error| self.engine.explain(error, Stage::Start, &whom));
                }
                Err(other) => return Err(other),
            }
        }
        timeline.enter(Stage::Inspect);
        let view = self.inspect(docker, &spec.seat, &view.id).await?;
        let instance = self.probed(view).await;
        Ok(Some(Created { instance, disposition: Disposition::Found }))
    }

    async fn await_removal(&self, docker: &Docker, view: &View) -> Result<(), ProviderError> {
        for _ in 0..REMOVAL_TRIES {
            match self.inspect(docker, &view.seat, &view.id).await {
                Err(ProviderError::Gone { .. }) => return Ok(()),
                Err(other) => return Err(other),
                Ok(_) => tokio::time::sleep(REMOVAL_PAUSE).await,
            }
        }
        Err(ProviderError::InUse {
            kind: ObjectKind::Instance,
            name: view.name.clone(),
            for_whom: Whom::Seat(&view.seat).to_string(),
            detail: "the engine is still removing it".to_owned(),
        })
    }

    /// Takes back what a failed attempt made, as long as it takes for an engine that went away to come back. What
    /// could not be taken back is a seat that everyone can see and destroy.
    async fn undo(&self, spec: &SeatSpec, create_id: &str, network: &NetworkUse, done: &[Step]) {
        for attempt in 1..=UNDO_TRIES {
            let error = match self.take_back(spec, create_id, network, done).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if attempt == UNDO_TRIES {
                tracing::error!(seat = %spec.seat, %error, "a failed create left something behind; destroy the seat");
                break;
            }
            tokio::time::sleep(UNDO_PAUSE).await;
        }
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
        let of_attempt = |kind| {
            let mut labels = names::seat_labels(kind, &spec.seat);
            labels.insert(names::CREATE_ID.to_owned(), create_id.to_owned());
            labels
        };
        for step in done.iter().rev() {
            match step {
                Step::Container => {
                    let wanted = of_attempt(names::TYPE_CONTAINER);
                    let listed = self.engine.containers(&docker, &wanted, Stage::Undo, &whom).await?;
                    for id in listed.into_iter().filter_map(|container| container.id) {
                        let options = RemoveContainerOptionsBuilder::default().force(true).build();
                        match docker.remove_container(&id, Some(options)).await {
                            Ok(()) => {}
                            Err(error) if is_status(&error, 404) => {}
                            Err(error) => return Err(self.engine.explain(error, Stage::Undo, &whom)),
                        }
                    }
                }
                Step::Volume => {
                    volume::remove_all(&self.engine, &docker, &of_attempt(names::TYPE_VOLUME), whom).await?;
                }
            }
        }
        self.networks.release(&self.engine, &docker, network, false).await
    }
}

/// A start answers 404 also when the container's network or image is gone; this is about the container.
fn is_gone(error: &bollard::errors::Error) -> bool {
    status(error).is_some_and(|(_, message)| message.contains("No such container"))
}
