//! Single seats.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use lifecycle::CreateReply;
use seats::{DataPolicy, Disposition, Scope, SeatRef, Status};

use crate::ApiConfig;
use crate::app::App;
use crate::input::{Input, JsonBody};
use crate::openapi::{params, responses, schemas};
use crate::problem::Problem;
use crate::reply::{InstanceBody, SeatsBody, server_timing};
use crate::request::seat_request;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Create a seat
///
/// Makes the seat, or finds the one that is there with the same spec, and waits until its workspace answers. The
/// work goes on when the wait is over or the caller goes away; it ends with the seat made, or with nothing left.
#[utoipa::path(
    post, path = "/workshops/{id}/seats", tag = "seats", operation_id = "createSeat",
    params(params::CreateSeat),
    request_body(content = schemas::SeatRequest, content_type = "application/json"),
    responses(responses::CreateSeat, responses::Creates, responses::Writes)
)]
pub(super) async fn create_seat(
    State(app): State<App>,
    mut input: Input,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let workshop = input.workshop();
    let wait = input.wait(ApiConfig::CREATE_WAIT);
    input.finish_query();
    let request = seat_request(body, workshop, app.config.bound, &mut input.errors);
    let (request, wait) = input.errors.check(request.zip(wait))?;
    let reply = app.lifecycle.create(request, wait).await?;
    Ok(created(reply))
}

/// 201 when it was made, 200 when it was there, 202 when that is not settled yet.
fn created(reply: CreateReply) -> Response {
    let CreateReply { instance, disposition, timings } = reply;
    let status = match (instance.status, disposition) {
        (Status::Starting, _) => StatusCode::ACCEPTED,
        (_, Disposition::Made) => StatusCode::CREATED,
        (_, Disposition::Found) => StatusCode::OK,
    };
    let location = location(&instance.seat);
    let mut response = (status, Json(InstanceBody::from(instance))).into_response();
    let headers = response.headers_mut();
    if let Some(location) = location.filter(|_| status != StatusCode::OK) {
        headers.insert(LOCATION, location);
    }
    if status == StatusCode::ACCEPTED {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(timing) = server_timing(&timings) {
        headers.insert(SERVER_TIMING, timing);
    }
    response
}

fn location(seat: &SeatRef) -> Option<HeaderValue> {
    // An id has only characters that a path and a header take as they are.
    HeaderValue::try_from(format!("/workshops/{}/seats/{}", seat.workshop, seat.seat)).ok()
}

/// List the seats of a workshop
///
/// The seats by number. A workshop without seats has an empty list.
#[utoipa::path(
    get, path = "/workshops/{id}/seats", tag = "seats", operation_id = "listSeats",
    params(params::Workshop),
    responses((status = 200, description = "The seats", body = SeatsBody), responses::Asks)
)]
pub(super) async fn list_seats(State(app): State<App>, mut input: Input) -> Result<Json<SeatsBody>, Problem> {
    let workshop = input.workshop();
    input.finish_query();
    let workshop = input.errors.check(workshop)?;
    let seats = app.lifecycle.list(&Scope::Workshop(workshop.clone())).await?;
    let seats = seats.into_iter().map(InstanceBody::from).collect();
    Ok(Json(SeatsBody { workshop: workshop.to_string(), seats }))
}

/// Show a seat
///
/// The seat with the best diagnosis that can be had.
#[utoipa::path(
    get, path = "/workshops/{id}/seats/{seat}", tag = "seats", operation_id = "getSeat",
    params(params::Seat),
    responses(
        (status = 200, description = "The seat", body = InstanceBody),
        responses::NoSuchSeat, responses::Asks
    )
)]
pub(super) async fn get_seat(
    State(app): State<App>,
    mut input: Input,
) -> Result<Json<InstanceBody>, Problem> {
    let (workshop, seat) = (input.workshop(), input.seat());
    input.finish_query();
    let above = seat.and_then(|seat| input.above_bound(seat));
    let (workshop, seat) = input.errors.check(workshop.zip(seat))?;
    let seat = SeatRef::new(workshop, seat);
    match (app.lifecycle.get(&seat).await?, above) {
        (Some(instance), _) => Ok(Json(instance.into())),
        (None, Some(problem)) => Err(problem),
        (None, None) => {
            let detail = format!("there is no seat {seat}");
            Err(Problem::new(StatusCode::NOT_FOUND, "seat_not_found", detail).remedy("create it first"))
        }
    }
}

/// Destroy a seat
///
/// Removes the seat and, unless told to keep it, its data. Success also when it was not there.
#[utoipa::path(
    delete, path = "/workshops/{id}/seats/{seat}", tag = "seats", operation_id = "destroySeat",
    params(params::DestroySeat),
    responses((status = 204, description = "The seat is gone"), responses::Destroys, responses::Asks)
)]
pub(super) async fn destroy_seat(State(app): State<App>, mut input: Input) -> Result<StatusCode, Problem> {
    let (workshop, seat, data) = (input.workshop(), input.seat(), keep_data(&mut input));
    input.finish_query();
    let above = seat.and_then(|seat| input.above_bound(seat));
    let ((workshop, seat), data) = input.errors.check(workshop.zip(seat).zip(data))?;
    let seat = SeatRef::new(workshop, seat);
    if let Some(problem) = above
        && app.lifecycle.get(&seat).await?.is_none()
    {
        return Err(problem);
    }
    app.lifecycle.destroy(&seat, data).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What `?keep_data=` means for the data.
pub(super) fn keep_data(input: &mut Input) -> Option<DataPolicy> {
    let keep = input.flag("keep_data")?;
    Some(if keep { DataPolicy::Keep } else { DataPolicy::Remove })
}
