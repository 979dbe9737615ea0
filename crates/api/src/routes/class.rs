//! A whole class as one object.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use lifecycle::{ClassEvent, ClassReport, ClassRequest, ClassRun};
use seats::{DataPolicy, ProviderError, SeatBound};
use tokio::time::timeout;

use super::stream;
use crate::ApiConfig;
use crate::app::App;
use crate::input::{Input, JsonBody};
use crate::openapi::{params, responses, schemas};
use crate::problem::{ENGINE_BACK, Problem};
use crate::reply::{ClassBody, ClassProgress};
use crate::request::{ClassWish, class_wish};

/// The code of a seat that failed because the infrastructure does not answer.
const ENGINE_UNAVAILABLE: &str = "engine_unavailable";

/// Converge a class
///
/// Brings every wished seat up, side by side, and says for each what became of it and why. Asking again is safe
/// and finishes what is missing. With `Accept: text/event-stream` the answer is a stream of the events `stage`
/// (`StageEvent`), `seat` (`SeatResult`) and, last, `done` (`ClassResult`), or `problem` when the work was lost.
/// The work goes on when the wait is over or the caller goes away.
#[utoipa::path(
    put, path = "/workshops/{id}", tag = "workshops", operation_id = "convergeWorkshop",
    params(params::Converge),
    request_body(content = schemas::ClassRequest, content_type = "application/json"),
    responses(responses::Converge, responses::Writes)
)]
pub(super) async fn converge_workshop(
    State(app): State<App>,
    mut input: Input,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let (request, wait) = read(&mut input, body, app.config.bound);
    let (request, wait) = input.errors.check(request.zip(wait))?;
    let progress = ClassProgress::new(request.workshop.clone(), request.seats.clone());
    let location = HeaderValue::try_from(format!("/workshops/{}", request.workshop)).ok();
    let run = app.lifecycle.converge(request)?;
    if wants_events(&headers) {
        return Ok(stream::events(run));
    }
    match finish(run, progress, wait).await {
        End::Done(report) if engine_is_down(&report) => Err(down(&app, &report)),
        End::Done(report) => Ok(Json(ClassBody::from(report)).into_response()),
        End::Late(progress) => {
            let mut response = (StatusCode::ACCEPTED, Json(progress.into_body())).into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            if let Some(location) = location {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        End::Lost => Err(Problem::internal("the work on the class ended unexpectedly")),
    }
}

fn read(
    input: &mut Input,
    body: serde_json::Value,
    bound: SeatBound,
) -> (Option<ClassRequest>, Option<Duration>) {
    let workshop = input.workshop();
    let wait = input.wait(ApiConfig::CLASS_WAIT);
    let (prune, keep) = (input.flag("prune"), input.flag("keep_data"));
    input.finish_query();
    if (prune, keep) == (Some(false), Some(true)) {
        input.errors.push("keep_data", "this says what happens to pruned seats; it needs prune=true");
    }
    let prune = (prune == Some(true)).then_some(match keep {
        Some(true) => DataPolicy::Keep,
        _ => DataPolicy::Remove,
    });
    (class_wish(body, ClassWish { workshop, prune, bound }, &mut input.errors), wait)
}

enum End {
    Done(ClassReport),
    Late(ClassProgress),
    Lost,
}

async fn finish(mut run: ClassRun, mut progress: ClassProgress, wait: Duration) -> End {
    let ended = async {
        loop {
            match run.next().await {
                Some(ClassEvent::Done(report)) => return Some(report),
                Some(event) => progress.note(event),
                None => return None,
            }
        }
    };
    let ended = timeout(wait, ended).await;
    match ended {
        Ok(Some(report)) => End::Done(report),
        Ok(None) => End::Lost,
        Err(_) => End::Late(progress),
    }
}

/// Whether no seat got anywhere because the infrastructure does not answer: that is one problem, not thirty.
fn engine_is_down(report: &ClassReport) -> bool {
    !report.seats.is_empty() && report.seats.iter().all(|seat| seat.code == Some(ENGINE_UNAVAILABLE))
}

fn down(app: &App, report: &ClassReport) -> Problem {
    let said = report.seats.iter().find_map(|seat| seat.reason.clone()).unwrap_or_default();
    // A reason is the message and the remedy of the error; the problem has its own place for the second.
    let error = ProviderError::Unavailable { provider: app.lifecycle.provider(), detail: String::new() };
    let detail =
        said.strip_suffix(error.remedy()).map_or(said.as_str(), |message| message.trim_end_matches("; "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, ENGINE_UNAVAILABLE, detail)
        .remedy(error.remedy())
        .retry_after(ENGINE_BACK)
}

/// Whether the caller asks for a stream: `text/event-stream` in `Accept` (RFC 9110, 12.5.1) and not with `q=0`.
fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let events = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
            let refused = parts.any(|part| {
                part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            events && !refused
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("text/event-stream", true)]
    #[case("application/json, Text/Event-Stream;q=0.5", true)]
    #[case("text/event-stream;q=0", false)]
    #[case("*/*", false)]
    #[case("application/json", false)]
    fn streams_are_asked_for(#[case] accept: &'static str, #[case] stream: bool) {
        let mut headers = HeaderMap::new();
        assert!(!wants_events(&headers));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(wants_events(&headers), stream);
    }
}
