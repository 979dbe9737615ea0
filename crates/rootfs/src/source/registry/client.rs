//! Requests to one repository: authentication, redirects, and patience with a bound.
//!
//! ```text
//!   send ──► 200: the answer            401: authenticate once, send again     403, 404: an error
//!     ▲      429, 5xx, no connection: wait as long as asked, or longer each time ─┐
//!     └──────────────────────────── at most TRIES times ◄─────────────────────────┘
//! ```
//!
//! Source: OCI distribution specification 1.1, "Pulling manifests" and "Pulling blobs"; RFC 9110, sections 10.2.3 and 11.6.1;
//! the distribution project's "Token authentication specification".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::challenge::{Challenge, challenge};
use super::credentials::Credentials;
use super::reference::{Reference, is_loopback};
use super::{Options, RegistryError};

/// How often one thing is asked for.
pub(super) const TRIES: u32 = 4;
/// The first wait where the registry does not say how long; then twice as long each time.
const WAIT: Duration = Duration::from_millis(300);
/// The longest wait that a registry may ask for.
const MOST_WAIT: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(15);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
const MOST_REDIRECTS: usize = 5;
const MOST_TOKEN: usize = 1 << 20;

/// A repository of a registry.
pub(super) struct Client {
    http: reqwest::Client,
    registry: String,
    repository: String,
    base: String,
    insecure: Arc<[String]>,
    credentials: Option<Credentials>,
    /// The header that proves who asks.
    proof: Mutex<Option<HeaderValue>>,
}

/// Plain HTTP is for this machine, and for what is named.
fn may_be_plain(insecure: &[String], authority: &str) -> bool {
    is_loopback(authority) || insecure.iter().any(|name| name == authority)
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_allowed(insecure: &[String], url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && may_be_plain(insecure, &authority(url))
}

impl Client {
    pub(super) fn new(
        reference: &Reference,
        options: &Options,
        credentials: Option<Credentials>,
    ) -> Result<Self, RegistryError> {
        let insecure: Arc<[String]> = options.insecure.clone().into();
        let allowed = insecure.clone();
        // Of its own accord it takes the proof off a request that goes to another host, port or scheme.
        let policy = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_REDIRECTS {
                return attempt.error("too many redirects");
            }
            if is_allowed(&allowed, attempt.url()) {
                attempt.follow()
            } else {
                attempt.error("a redirect to plain HTTP")
            }
        });
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("clarateach-rootfs/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .referer(false)
            .redirect(policy);
        let host = reference.host();
        if is_loopback(host) {
            http = http.no_proxy();
        }
        let scheme = if may_be_plain(&insecure, host) { "http" } else { "https" };
        let proof = match &credentials {
            Some(Credentials::Token(token)) => Some(secret(&format!("Bearer {}", token.expose_secret()))?),
            _ => None,
        };
        Ok(Self {
            http: http.build().map_err(|error| RegistryError::unreachable(host, error))?,
            registry: reference.registry.clone(),
            repository: reference.repository.clone(),
            base: format!("{scheme}://{host}/v2/{}", reference.repository),
            insecure,
            credentials,
            proof: Mutex::new(proof),
        })
    }

    /// The answer to `GET {base}/{path}` when it is one.
    pub(super) async fn get(&self, path: &str, accept: &'static str) -> Result<Response, RegistryError> {
        let url = format!("{}/{path}", self.base);
        let mut authenticated = false;
        loop {
            let proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let request = || {
                let request = self.http.get(&url).header(ACCEPT, accept);
                proof.iter().fold(request, |request, proof| request.header(AUTHORIZATION, proof))
            };
            let response = self.patiently(request).await?;
            match response.status() {
                StatusCode::UNAUTHORIZED if !authenticated => {
                    // A token that was good a while ago may have ended; so each request may ask for one, once.
                    authenticated = true;
                    self.authenticate(&response).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(self.denied(response.status()));
                }
                StatusCode::NOT_FOUND => {
                    let what = format!("{}/{}: {path}", self.registry, self.repository);
                    return Err(RegistryError::NoSuch(what));
                }
                status if status.is_success() => return Ok(response),
                status => return Err(self.status(status)),
            }
        }
    }

    /// Sends a request, again where that may help.
    async fn patiently(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, RegistryError> {
        let mut tries = 1;
        loop {
            let wait = WAIT * 2_u32.pow(tries - 1);
            let wait = match request().send().await {
                Ok(response) => {
                    let status = response.status();
                    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
                        return Ok(response);
                    }
                    let asked = seconds(&response).unwrap_or(wait);
                    if tries == TRIES || asked > MOST_WAIT {
                        return Err(self.status(status));
                    }
                    asked
                }
                Err(error) if tries == TRIES || error.is_redirect() || error.is_builder() => {
                    return Err(RegistryError::unreachable(&self.registry, error));
                }
                Err(_) => wait,
            };
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn authenticate(&self, refused: &Response) -> Result<(), RegistryError> {
        let headers = refused.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> =
            headers.iter().filter_map(|header| challenge(header.to_str().ok()?)).collect();
        let bearer = challenges.iter().find(|one| matches!(one, Challenge::Bearer { .. }));
        let proof = match bearer.or(challenges.first()) {
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.token(realm, service.as_deref()).await?;
                secret(&format!("Bearer {}", token.expose_secret()))?
            }
            Some(Challenge::Basic) => match &self.credentials {
                Some(Credentials::Basic { user, password }) => basic(user, password)?,
                _ => return Err(self.denied(StatusCode::UNAUTHORIZED)),
            },
            None => return Err(self.denied(StatusCode::UNAUTHORIZED)),
        };
        *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some(proof);
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<SecretString, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<SecretText>,
            access_token: Option<SecretText>,
        }
        let bad = |why| RegistryError::Challenge { registry: self.registry.clone(), why };
        let url: Url = realm.parse().map_err(|_| bad("its realm is no address"))?;
        if !is_allowed(&self.insecure, &url) {
            return Err(bad("its realm is on plain HTTP"));
        }
        let scope = format!("repository:{}:pull", self.repository);
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        let request = || match &self.credentials {
            Some(Credentials::Identity(token)) => {
                let mut form = fields.clone();
                form.push(("grant_type", "refresh_token"));
                form.push(("client_id", "clarateach"));
                form.push(("refresh_token", token.expose_secret()));
                self.http.post(url.clone()).form(&form)
            }
            Some(Credentials::Basic { user, password }) => {
                self.http.get(url.clone()).query(&fields).basic_auth(user, Some(password.expose_secret()))
            }
            Some(Credentials::Token(_)) | None => self.http.get(url.clone()).query(&fields),
        };
        let mut response = self.patiently(request).await?;
        match response.status() {
            status if status.is_success() => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
                return Err(self.denied(status));
            }
            status => return Err(self.status(status)),
        }
        let text = bounded(&mut response, MOST_TOKEN).await;
        let text = text.map_err(|error| RegistryError::unreachable(&self.registry, error))?;
        let text = text.ok_or_else(|| bad("its token is far too long"))?;
        // The parser's error may have parts of the text in it.
        let answer: Answer = serde_json::from_slice(&text).map_err(|_| bad("its token is none"))?;
        let token = answer.token.or(answer.access_token).ok_or_else(|| bad("its token is none"))?;
        Ok(token.0)
    }

    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    fn denied(&self, status: StatusCode) -> RegistryError {
        RegistryError::Denied {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            status: status.as_u16(),
            known: self.credentials.is_some(),
        }
    }

    fn status(&self, status: StatusCode) -> RegistryError {
        RegistryError::Status { registry: self.registry.clone(), status: status.as_u16() }
    }
}

/// A text that is in no other text.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretText(#[serde(deserialize_with = "hidden")] SecretString);

fn hidden<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

fn basic(user: &str, password: &SecretString) -> Result<HeaderValue, RegistryError> {
    use base64::Engine as _;
    let text = format!("{user}:{}", password.expose_secret());
    secret(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)))
}

fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::BadSecret)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What `Retry-After` asks for, when it is a number: a date is rarely sent, and the other wait does as well.
fn seconds(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A body as a whole; nothing when it is longer than `most` bytes.
pub(super) async fn bounded(response: &mut Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if text.len() + chunk.len() > most {
            return Ok(None);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(Some(text))
}

/// TLS with the certificates of this host. A host without any can still use registries on plain HTTP.
fn tls() -> Result<rustls::ClientConfig, RegistryError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| RegistryError::Tls(why.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
