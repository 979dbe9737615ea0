//! A class as server-sent events (WHATWG HTML, 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use lifecycle::{ClassEvent, ClassRun};
use serde::Serialize;

use crate::reply::{ClassBody, SeatResult, StageBody};

/// How often a comment goes out when nothing happens, so that no proxy takes the silence for an end.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follows the run to its end. Dropping the response stops watching, not the work.
pub(super) fn events(run: ClassRun) -> Response {
    let stream = stream::unfold(Some(run), |run| async move {
        let mut run = run?;
        match run.next().await {
            Some(event) => {
                let last = matches!(event, ClassEvent::Done(_));
                Some((Ok::<_, Infallible>(shape(event)), (!last).then_some(run)))
            }
            None => Some((Ok(lost()), None)),
        }
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // nginx would collect the stream until it is large enough.
    let buffering = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(buffering, HeaderValue::from_static("no"));
    response
}

fn shape(event: ClassEvent) -> Event {
    match event {
        ClassEvent::Stage { seat, stage, note } => {
            json("stage", &StageBody { seat: seat.get(), stage: stage.as_str(), note })
        }
        ClassEvent::Seat(report) => json("seat", &SeatResult::from(*report)),
        ClassEvent::Done(report) => json("done", &ClassBody::from(report)),
    }
}

fn json(name: &str, data: &impl Serialize) -> Event {
    // Our own bodies always serialize; should one not, the event says so instead of the stream breaking off.
    Event::default().event(name).json_data(data).unwrap_or_else(|_| lost())
}

/// The last event when the work ended without a report.
fn lost() -> Event {
    const DATA: &str =
        r#"{"code":"internal","detail":"the work on the class ended unexpectedly; see the service's log"}"#;
    Event::default().event("problem").data(DATA)
}
