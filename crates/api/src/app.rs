//! The service as one tower of layers over the routes.
//!
//! ```text
//!   observe      request id, span, log, counting, problem bodies
//!     panic      a panic in a handler is a 500, not a dead connection
//!       timeout  a handler that never answers is a 503
//!         guard  token, or loopback host
//!           routes, and the fallbacks for what is none
//! ```

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use lifecycle::Lifecycle;
use tower_http::catch_panic::CatchPanicLayer;

use crate::guard::{Token, guard};
use crate::observe::observe;
use crate::openapi::{self, Deployment};
use crate::problem::Problem;
use crate::{ApiConfig, Metrics, routes};

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) config: Arc<ApiConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) token: Option<Token>,
    pub(crate) openapi: Bytes,
}

/// The whole HTTP API over a lifecycle.
///
/// `metrics` is the one that the lifecycle reports to. The OpenAPI document that it serves is exact for this
/// configuration: the seat bound, the limits' ceilings, the longest wait, and whether a token is needed.
pub fn router(lifecycle: Lifecycle, config: ApiConfig, metrics: Arc<Metrics>) -> Router {
    let (router, document) = routes::all().split_for_parts();
    let deployment = Deployment {
        bound: config.bound,
        ceiling: lifecycle.policy().ceiling,
        max_wait: config.max_wait,
        token: config.token.is_some(),
    };
    let app = App {
        token: config.token.as_ref().map(Token::new),
        openapi: Bytes::from(openapi::finish(document, &deployment)),
        config: Arc::new(config),
        lifecycle,
        metrics,
    };
    router
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(from_fn_with_state(app.config.request_timeout(), timeout))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Bounds the time until a response begins. What it interrupts is waiting: the work goes on by itself.
async fn timeout(State(within): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timed_out",
            format_args!("there was no answer within {} seconds", within.as_secs()),
        )
        .remedy("ask for the seat to see how far it is; the work goes on")
        .retry_after(Duration::from_secs(10))
        .into_response(),
    }
}

#[allow(clippy::needless_pass_by_value)] // the layer's signature
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Problem::internal("the request could not be handled").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn status(router: Router) -> (StatusCode, Option<&'static str>) {
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        (response.status(), response.extensions().get::<Problem>().map(Problem::code))
    }

    #[tokio::test]
    async fn a_panic_is_a_500() {
        let broken = || async {
            if true {
                panic!("broken")
            }
        };
        let router = Router::new().route("/", get(broken)).layer(CatchPanicLayer::custom(panicked));
        assert_eq!(status(router).await, (StatusCode::INTERNAL_SERVER_ERROR, Some("internal")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_answers_is_a_503() {
        let layer = from_fn_with_state(Duration::from_secs(700), timeout);
        let router = Router::new().route("/", get(std::future::pending::<()>)).layer(layer);
        assert_eq!(status(router).await, (StatusCode::SERVICE_UNAVAILABLE, Some("timed_out")));
    }
}
