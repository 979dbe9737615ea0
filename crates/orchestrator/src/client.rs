//! The service's HTTP interface as seen from a client.

mod problem;
pub(crate) mod sse;
pub(crate) mod types;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::config::Token;
use crate::exit::{Exit, Failure};

/// Listing answers at once, or the service is in trouble.
const READ: Duration = Duration::from_secs(30);
/// Changing waits for the engine; the service bounds that itself, so this only catches a dead connection.
const CHANGE: Duration = Duration::from_mins(20);
/// How long a stream may be silent: the service says every 15 s that it is there.
const SILENCE: Duration = Duration::from_mins(1);
/// The service is on this host, or near.
const CONNECT: Duration = Duration::from_secs(5);

/// The parameters of a request.
type Query<'a> = &'a [(&'static str, String)];

/// A client of one service.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Token>,
}

/// TLS that trusts nobody. The client for registries brings TLS, and with it every client wants the certificates of the host, of
/// which a container may have none; this one speaks plain HTTP.
fn no_tls() -> Result<rustls::ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.map_err(|error| Failure::new(Exit::Failure, format!("cannot set TLS up: {error}")))?;
    Ok(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

impl Client {
    /// A client of the service at `url`.
    ///
    /// # Errors
    /// When the address is not one.
    pub(crate) fn new(url: &str, token: Option<Token>) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(Exit::Usage, format!("the service's address {url:?} {why}"))
                .remedy("write it like http://127.0.0.1:8080, in --url or ORCHESTRATOR_URL")
        };
        let mut base: Url = url.parse().map_err(|_| wrong("is not a URL"))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(wrong("does not begin with http://"));
        }
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(wrong("has more than a host, a port and a path"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_tls()?)
            .user_agent(concat!("orchestrator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            // The service is internal: a proxy that is meant for the internet must not see keys.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(Exit::Failure, format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, base, token })
    }

    /// The address of the service.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Reads a resource. `what` names it in errors.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub(crate) async fn get(&self, path: &[&str], what: &str) -> Result<Value, Failure> {
        let request = self.request(Method::GET, path, &[])?.timeout(READ);
        json(self.send(request, what).await?, what).await
    }

    /// Makes something; returns the status and the body.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        query: Query<'_>,
        body: &Value,
        what: &str,
    ) -> Result<(StatusCode, Value), Failure> {
        let request = self.request(Method::POST, path, query)?.json(body).timeout(CHANGE);
        let response = self.send(request, what).await?;
        Ok((response.status(), json(response, what).await?))
    }

    /// Removes something.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub(crate) async fn delete(&self, path: &[&str], query: Query<'_>, what: &str) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, path, query)?.timeout(CHANGE);
        self.send(request, what).await.map(drop)
    }

    /// Changes something and hears of the progress.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub(crate) async fn put_events(
        &self,
        path: &[&str],
        query: Query<'_>,
        body: &Value,
        what: &str,
    ) -> Result<Events, Failure> {
        let request = self
            .request(Method::PUT, path, query)?
            .header(reqwest::header::ACCEPT, "text/event-stream")
            .json(body);
        let response = self.send(request, what).await?;
        Ok(Events { response, parser: sse::Parser::default(), ready: Vec::new().into_iter() })
    }

    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            // The parts are escaped, so that an id with a slash is a wrong id and not another resource.
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(Failure::new(Exit::Usage, "the service's address takes no path")),
        };
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error, what))?;
        if response.status().is_success() { Ok(response) } else { Err(problem::read(response, what).await) }
    }

    fn unreachable(&self, error: &reqwest::Error, what: &str) -> Failure {
        let base = self.base();
        let failure = Failure::new(
            Exit::Unavailable,
            format!("{what}: the service at {base} does not answer ({})", root_cause(error)),
        );
        if error.is_timeout() && !error.is_connect() {
            failure.remedy("look at the service's log; asking again is safe")
        } else {
            failure.remedy(
                "start it with 'orchestrator serve', or name its address with --url or ORCHESTRATOR_URL",
            )
        }
    }
}

/// The events of one response, as they come.
pub(crate) struct Events {
    response: Response,
    parser: sse::Parser,
    ready: std::vec::IntoIter<sse::Event>,
}

impl Events {
    /// The next event, or `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks, or is silent for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<sse::Event>, Failure> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(Some(event));
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| broken(&format!("nothing came for {} s", SILENCE.as_secs())))?;
            let chunk = chunk.map_err(|error| broken(&root_cause(&error)))?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.ready = self.parser.feed(&chunk).map_err(|error| broken(&error.to_string()))?.into_iter();
        }
    }
}

/// The stream ended before its last event.
pub(crate) fn broken(why: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("the connection to the service broke ({why})")).remedy(
        "a service that still runs goes on with what it began; run the same command again to finish the rest",
    )
}

async fn json(response: Response, what: &str) -> Result<Value, Failure> {
    response.json().await.map_err(|error| {
        Failure::new(Exit::Failure, format!("{what}: the answer is not JSON ({})", root_cause(&error)))
            .remedy("check that the address belongs to this service and not to something before it")
    })
}

/// What is at the bottom of an error: "Connection refused" says more than "error sending request for url".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
