//! The service itself.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lifecycle::LifecycleError;
use tokio::time::timeout;

use crate::app::App;
use crate::metrics::{COMMIT, CONTENT_TYPE as OPENMETRICS};
use crate::openapi::{API_VERSION, responses, schemas};
use crate::problem::Problem;
use crate::reply::{CheckBody, HealthBody, ReadyBody, VersionBody};

/// The service's name, as `/version` tells it.
const NAME: &str = "clarateach-orchestrator";

/// Health
///
/// The process is up. It says nothing about the engine; see `/readyz`.
#[utoipa::path(
    get, path = "/health", tag = "system", operation_id = "health", security(()),
    responses((status = 200, description = "The process is up", body = HealthBody), responses::Open)
)]
pub(super) async fn health() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

/// Liveness
///
/// The process is up: when this does not answer, restart it.
#[utoipa::path(
    get, path = "/livez", tag = "system", operation_id = "live", security(()),
    responses((status = 200, description = "The process is up", body = HealthBody), responses::Open)
)]
pub(super) async fn livez() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

/// Readiness
///
/// Whether everything that the service depends on is there; if not, what is missing and what to do about it.
#[utoipa::path(
    get, path = "/readyz", tag = "system", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "The service can serve", body = ReadyBody),
        (status = 503, description = "Something is missing", body = ReadyBody),
        responses::Open
    )
)]
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let name = app.lifecycle.provider().as_str();
    let within = app.config.check_timeout;
    let check = match timeout(within, app.lifecycle.check()).await {
        Ok(Ok(survey)) => CheckBody { name, ok: true, detail: survey.summary, remedy: None },
        Ok(Err(error)) => missing(name, &error),
        Err(_) => CheckBody {
            name,
            ok: false,
            detail: format!("there was no answer within {} ms", within.as_millis()),
            remedy: Some("see whether the engine is overloaded or hangs, and restart it if so".to_owned()),
        },
    };
    let (status, word) =
        if check.ok { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "unready") };
    (status, Json(ReadyBody { status: word, checks: vec![check] })).into_response()
}

fn missing(name: &'static str, error: &LifecycleError) -> CheckBody {
    CheckBody { name, ok: false, detail: error.to_string(), remedy: Some(error.remedy().to_owned()) }
}

/// Version
///
/// Which service this is, and what runs its seats.
#[utoipa::path(
    get, path = "/version", tag = "system", operation_id = "version",
    responses((status = 200, description = "The version", body = VersionBody), responses::Guarded)
)]
pub(super) async fn version(State(app): State<App>) -> Json<VersionBody> {
    Json(VersionBody {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        commit: COMMIT,
        api: API_VERSION,
        provider: app.lifecycle.provider().into(),
    })
}

/// Metrics
///
/// What the service counts, in the `OpenMetrics` text format.
#[utoipa::path(
    get, path = "/metrics", tag = "system", operation_id = "metrics",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"),
        responses::Guarded
    )
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let scraped = app.metrics.scrape(&app.lifecycle, app.config.scrape_timeout).await;
    let text = scraped.map_err(|_| Problem::internal("the metrics could not be written"))?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS))], text).into_response())
}

/// OpenAPI document
///
/// This document, exact for how the service is configured.
#[utoipa::path(
    get, path = "/openapi.json", tag = "system", operation_id = "openapi",
    responses(
        (status = 200, description = "The document", body = schemas::Document, content_type = "application/json"),
        responses::Guarded
    )
)]
pub(super) async fn openapi_json(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], app.openapi).into_response()
}
