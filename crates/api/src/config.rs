//! What the operator chooses about the HTTP side.

use std::time::Duration;

use seats::SeatBound;
use secrecy::SecretString;

/// How the API behaves. Every duration and size is enforced, so none may be zero but by intention.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The highest seat number that a request may name.
    pub bound: SeatBound,
    /// The bearer token that callers must send. Without one, only requests to a loopback host name are served.
    pub token: Option<SecretString>,
    /// The most bytes of a request body.
    pub max_body: usize,
    /// The longest `?wait=` that a request may ask for.
    pub max_wait: Duration,
    /// How long a request body may take to arrive in full.
    pub body_timeout: Duration,
    /// How long `/readyz` waits for the provider.
    pub check_timeout: Duration,
    /// How long `/metrics` waits for the list of seats.
    pub scrape_timeout: Duration,
}

impl ApiConfig {
    /// How long a create waits for `running` when the request does not say.
    pub const CREATE_WAIT: Duration = Duration::from_secs(30);
    /// How long a class waits for its seats when the request does not say.
    pub const CLASS_WAIT: Duration = Duration::from_secs(300);

    /// The longest that any handler may take until its response begins: what a request may wait, and time for
    /// the work that is not waiting. It catches a provider that never answers; it never ends the work itself.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.max_wait + self.body_timeout + Duration::from_secs(60)
    }
}

impl Default for ApiConfig {
    /// 100 seats, no token, bodies of at most 256 KiB within 10 seconds, waits of at most 10 minutes.
    fn default() -> Self {
        Self {
            bound: SeatBound::default(),
            token: None,
            max_body: 256 * 1024,
            max_wait: Duration::from_secs(600),
            body_timeout: Duration::from_secs(10),
            check_timeout: Duration::from_secs(3),
            scrape_timeout: Duration::from_secs(2),
        }
    }
}
