//! Workshops as a whole.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use seats::Scope;

use super::seats::keep_data;
use crate::app::App;
use crate::input::Input;
use crate::openapi::{params, responses};
use crate::problem::Problem;
use crate::reply::{WorkshopBody, WorkshopsBody};

/// List workshops
///
/// Every workshop that has a seat, by name, with how many of its seats are how far.
#[utoipa::path(
    get, path = "/workshops", tag = "workshops", operation_id = "listWorkshops",
    responses((status = 200, description = "The workshops", body = WorkshopsBody), responses::Asks)
)]
pub(super) async fn list_workshops(
    State(app): State<App>,
    mut input: Input,
) -> Result<Json<WorkshopsBody>, Problem> {
    input.finish_query();
    input.errors.check(Some(()))?;
    let seats = app.lifecycle.list(&Scope::All).await?;
    Ok(Json(WorkshopsBody::new(&seats)))
}

/// Show a workshop
///
/// The workshop's seats by number, and how many of them are how far.
#[utoipa::path(
    get, path = "/workshops/{id}", tag = "workshops", operation_id = "getWorkshop",
    params(params::Workshop),
    responses(
        (status = 200, description = "The workshop", body = WorkshopBody),
        responses::NoSuchWorkshop, responses::Asks
    )
)]
pub(super) async fn get_workshop(
    State(app): State<App>,
    mut input: Input,
) -> Result<Json<WorkshopBody>, Problem> {
    let workshop = input.workshop();
    input.finish_query();
    let workshop = input.errors.check(workshop)?;
    let seats = app.lifecycle.list(&Scope::Workshop(workshop.clone())).await?;
    if seats.is_empty() {
        let detail = format!("workshop {workshop} has no seat");
        return Err(Problem::new(StatusCode::NOT_FOUND, "workshop_not_found", detail)
            .remedy("create a seat in it, or put the whole class"));
    }
    Ok(Json(WorkshopBody::new(&workshop, seats)))
}

/// Destroy a workshop
///
/// Removes every seat, the network and, unless told to keep it, the data. Success also when there was nothing.
#[utoipa::path(
    delete, path = "/workshops/{id}", tag = "workshops", operation_id = "destroyWorkshop",
    params(params::DestroyWorkshop),
    responses((status = 204, description = "The workshop is gone"), responses::Destroys, responses::Asks)
)]
pub(super) async fn destroy_workshop(
    State(app): State<App>,
    mut input: Input,
) -> Result<StatusCode, Problem> {
    let (workshop, data) = (input.workshop(), keep_data(&mut input));
    input.finish_query();
    let (workshop, data) = input.errors.check(workshop.zip(data))?;
    app.lifecycle.destroy_workshop(&workshop, data).await?;
    Ok(StatusCode::NO_CONTENT)
}
