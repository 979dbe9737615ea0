//! Who may ask.
//!
//! With a token, whoever sends it. Without one the service listens on loopback only, and the remaining danger is
//! a browser on the same machine: a web page can make it send requests to `127.0.0.1`, and by DNS rebinding also
//! read the answers. So without a token a request must name a loopback host, and must not come from a page of
//! another origin.

mod host;
mod token;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use crate::app::App;
use crate::problem::Problem;

pub(crate) use token::Token;

/// Answered without a token: probes have none.
const OPEN: [&str; 3] = ["/health", "/livez", "/readyz"];

/// The layer that lets a request through or not.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match admit(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admit(app: &App, request: &Request) -> Result<(), Problem> {
    let Some(token) = &app.token else {
        return host::admit(request);
    };
    if OPEN.contains(&request.uri().path()) {
        return Ok(());
    }
    let (detail, challenge) = match token::presented(request.headers()) {
        Some(presented) if token.matches(presented) => return Ok(()),
        Some(_) => ("the bearer token is not the right one", "Bearer error=\"invalid_token\""),
        None => ("this request needs a bearer token", "Bearer"),
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .remedy("send 'Authorization: Bearer …' with the service's token")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
}
