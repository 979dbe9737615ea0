//! The routes. Each handler reads its input, asks the lifecycle, and shapes the answer; nothing else.

mod class;
mod seats;
mod stream;
mod system;
mod workshops;

use axum::extract::OriginalUri;
use http::{Method, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::openapi;
use crate::problem::Problem;

/// Every route with its documentation.
pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(seats::list_seats, seats::create_seat))
        .routes(routes!(seats::get_seat, seats::destroy_seat))
        .routes(routes!(workshops::list_workshops))
        .routes(routes!(workshops::get_workshop, class::converge_workshop, workshops::destroy_workshop))
        .routes(routes!(system::health))
        .routes(routes!(system::livez))
        .routes(routes!(system::readyz))
        .routes(routes!(system::version))
        .routes(routes!(system::metrics))
        .routes(routes!(system::openapi_json))
}

/// The answer for a path that is no route.
pub(crate) async fn not_found(OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("there is no {}", crate::input::shown(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail).remedy("see /openapi.json for what there is")
}

/// The answer for a method that a route does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let (method, path) = (crate::input::shown(method.as_str()), crate::input::shown(uri.path()));
    let detail = format!("{path} does not have the method {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .remedy("use a method that the 'Allow' header lists")
}
