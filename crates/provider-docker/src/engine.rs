//! The connection to the engine, and what its errors mean.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use seats::{ProviderError, ProviderKind, SeatRef, Stage, WorkshopId};

use crate::names::{self, Labels};
use crate::{DockerConfig, DockerHost};

/// A connection that is made when it is first needed, negotiates the API version, and is made anew after the
/// engine went away: it may have come back as another version.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: String,
    timeout_secs: u64,
    client: Mutex<Option<Docker>>,
}

impl Engine {
    pub(crate) fn new(config: &DockerConfig) -> Self {
        Self {
            socket: config.host.socket().display().to_string(),
            timeout_secs: config.call_timeout.as_secs().max(1),
            client: Mutex::new(None),
        }
    }

    /// A client whose version both sides speak.
    pub(crate) async fn client(&self) -> Result<Docker, ProviderError> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let client =
            connect_to(&self.socket, self.timeout_secs).await.map_err(|error| self.unavailable(&error))?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// Forgets the connection, so that the next call makes and negotiates a new one.
    pub(crate) fn reset(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The engine is not there (any more): the next call connects anew.
    pub(crate) fn unavailable(&self, error: &Bollard) -> ProviderError {
        self.reset();
        let detail = format!("{}: {}", self.socket, describe(error));
        ProviderError::Unavailable { provider: ProviderKind::Docker, detail }
    }

    /// Every container, in whatever state, that carries all of `wanted`.
    pub(crate) async fn containers(
        &self,
        docker: &Docker,
        wanted: &Labels,
        stage: Stage,
        whom: &Whom<'_>,
    ) -> Result<Vec<ContainerSummary>, ProviderError> {
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&names::filter(wanted)).build();
        let listed = docker.list_containers(Some(options)).await;
        listed.map_err(|error| self.explain(error, stage, whom))
    }

    /// Removes a container, and with it the anonymous volumes that its image declares: nothing else names them. Named
    /// ones, the seat's data, stay.
    pub(crate) async fn remove_container(docker: &Docker, id: &str, force: bool) -> Result<(), Bollard> {
        let options = RemoveContainerOptionsBuilder::default().force(force).v(true).build();
        docker.remove_container(id, Some(options)).await
    }

    /// What a failed call means for the caller.
    pub(crate) fn explain(&self, error: Bollard, stage: Stage, whom: &Whom<'_>) -> ProviderError {
        let detail = match status(&error) {
            Some((_, message)) => message.trim().to_owned(),
            None if is_connection(&error) => return self.unavailable(&error),
            None => describe(&error),
        };
        let for_whom = whom.to_string();
        if detail.contains("no space left on device") || detail.contains("cannot allocate memory") {
            return ProviderError::HostFull { for_whom, detail };
        }
        if let Some(workshop) = whom.workshop().filter(|_| detail.contains("no available IPv4 addresses")) {
            return ProviderError::AddressesExhausted { workshop: workshop.clone(), detail };
        }
        ProviderError::Failed { for_whom, stage, detail, source: Some(Box::new(error)) }
    }
}

/// Connects to an engine and agrees on a version of its API with it. `timeout` is for each call.
///
/// # Errors
/// When the engine does not answer.
pub async fn connect(host: &DockerHost, timeout: Duration) -> Result<Docker, Bollard> {
    connect_to(&host.socket().display().to_string(), timeout.as_secs().max(1)).await
}

async fn connect_to(socket: &str, timeout_secs: u64) -> Result<Docker, Bollard> {
    let docker = Docker::connect_with_unix(socket, timeout_secs, API_DEFAULT_VERSION)?;
    let docker = docker.negotiate_version().await?;
    let version = docker.client_version();
    let prefix = format!("/v{}.{}", version.major_version, version.minor_version);
    Ok(docker.with_request_modifier(move |request| versioned(request, &prefix)))
}

/// Puts the negotiated version in front of a request's path, as the Engine API wants it: the client library (0.21.1)
/// negotiates one and then leaves it out.
fn versioned(mut request: BollardRequest, prefix: &str) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let Some(path) = parts.path_and_query.take().filter(|path| !path.as_str().starts_with("/v1.")) else {
        return request;
    };
    parts.path_and_query = format!("{prefix}{path}").parse().ok();
    if let Ok(uri) = parts.try_into() {
        *request.uri_mut() = uri;
    }
    request
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom<'a> {
    Seat(&'a SeatRef),
    Workshop(&'a WorkshopId),
    Host,
}

impl Whom<'_> {
    fn workshop(&self) -> Option<&WorkshopId> {
        match self {
            Self::Seat(seat) => Some(&seat.workshop),
            Self::Workshop(workshop) => Some(workshop),
            Self::Host => None,
        }
    }
}

impl std::fmt::Display for Whom<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seat(seat) => write!(f, "seat {seat}"),
            Self::Workshop(workshop) => write!(f, "workshop {workshop}"),
            Self::Host => f.write_str("this host"),
        }
    }
}

/// The engine's own answer, when it gave one.
pub(crate) fn status(error: &Bollard) -> Option<(u16, &str)> {
    match error {
        Bollard::DockerResponseServerError { status_code, message } => Some((*status_code, message)),
        _ => None,
    }
}

/// Whether the engine answered with this status.
pub(crate) fn is_status(error: &Bollard, wanted: u16) -> bool {
    status(error).is_some_and(|(code, _)| code == wanted)
}

pub(crate) fn is_connection(error: &Bollard) -> bool {
    matches!(
        error,
        Bollard::HyperLegacyError { .. }
            | Bollard::HyperResponseError { .. }
            | Bollard::IOError { .. }
            | Bollard::RequestTimeoutError
            | Bollard::SocketNotFoundError(_)
    )
}

/// The error with its causes: the client library's own message is often only "client error (Connect)".
fn describe(error: &Bollard) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}
