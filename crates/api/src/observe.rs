//! The outermost layer: request ids, the access log, counting, and the bodies of problems.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;

/// The header that carries the id of a request, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The route of a request that no route takes.
const UNMATCHED: &str = "unmatched";

/// What nginx calls a request whose client went away before the answer.
const CLIENT_GONE: u16 = 499;

/// Gives the request an id, and everything that happens within it a span with that id.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut watch = Watch {
        app,
        method: method(request.method()),
        route: route.unwrap_or_else(|| UNMATCHED.to_owned()),
        since: Instant::now(),
        span: tracing::Span::none(),
        answered: false,
    };
    watch.span = tracing::info_span!("request", request_id = %id, method = watch.method, route = watch.route);
    let path = request.uri().path().to_owned();
    let span = watch.span.clone();
    let mut response = next.run(request).instrument(span).await;
    let problem = response.extensions_mut().remove::<Problem>();
    watch.answered(response.status().as_u16(), problem.as_ref());
    let mut response = match problem {
        Some(problem) => problem.render(response, &path, &id),
        None => response,
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Logs and counts a request when it is answered, or when its client goes away first.
struct Watch {
    app: App,
    method: &'static str,
    route: String,
    since: Instant,
    span: tracing::Span,
    answered: bool,
}

impl Watch {
    fn answered(&mut self, status: u16, problem: Option<&Problem>) {
        self.answered = true;
        let took = self.count(status);
        let code = problem.map(Problem::code);
        let detail = problem.filter(|problem| problem.status().is_server_error()).map(Problem::detail);
        self.span.in_scope(|| {
            tracing::info!(status, code, detail, latency_ms = milliseconds(took), "answered");
        });
    }

    fn count(&self, status: u16) -> Duration {
        let took = self.since.elapsed();
        self.app.metrics.request(self.method, &self.route, status, took);
        took
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.answered {
            let took = self.count(CLIENT_GONE);
            self.span.in_scope(|| {
                tracing::info!(
                    status = CLIENT_GONE,
                    latency_ms = milliseconds(took),
                    "the client went away; work that it started goes on"
                );
            });
        }
    }
}

fn milliseconds(took: Duration) -> f64 {
    crate::reply::millis(took)
}

/// The caller's id when it is 1 to 64 of `[A-Za-z0-9._-]`, so that it can be neither a forged log line nor a
/// large one; otherwise a new UUID (version 7: sortable by time).
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(plain))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The method as a label: any other word is one label, or callers could make as many series as they like.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("portal-42.a_B", true)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("a\tb", false)]
    #[case("a\"b", false)]
    fn a_callers_id_is_kept_when_it_is_plain(#[case] id: &str, #[case] kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
        assert_eq!(request_id(&headers) == id, kept);
    }

    #[test]
    fn a_long_id_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(&"x".repeat(65)).unwrap());
        assert_eq!(request_id(&headers).parse::<Uuid>().unwrap().get_version_num(), 7);
    }
}
