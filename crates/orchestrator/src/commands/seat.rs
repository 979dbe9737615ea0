//! `orchestrator seat …`

use std::time::Duration;

use serde_json::{Value, json};

use super::{connect, wish};
use crate::cli::Seat;
use crate::client::types::{self, Instance, SeatList};
use crate::config::Surroundings;
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Ui};

pub(super) async fn run(command: Seat, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    match command {
        Seat::Create { workshop, seat, wait, wish: wished, connection } => {
            wish::workshop(&workshop)?;
            let number = wish::seat(&seat)?;
            let client = connect(&connection, surroundings)?;
            let mut body = wish::body(&wished, surroundings)?;
            body.insert("seat".into(), json!(number));
            let wait = wait.as_deref().map(wish::duration).transpose()?;
            let query: Vec<_> =
                wait.into_iter().map(|wait| ("wait", format!("{}ms", wait.as_millis()))).collect();
            let what = named(&workshop, &seat);
            let (_, answer) =
                client.post(&["workshops", &workshop, "seats"], &query, &Value::Object(body), &what).await?;
            show_one(&answer, ui)?;
            judge(&types::read(&answer)?, &what, wait, ui)
        }
        Seat::List { workshop, connection } => {
            wish::workshop(&workshop)?;
            super::class::list(&connect(&connection, surroundings)?, &workshop, ui).await
        }
        Seat::Show { workshop, seat, connection } => {
            wish::workshop(&workshop)?;
            wish::seat(&seat)?;
            let client = connect(&connection, surroundings)?;
            let what = named(&workshop, &seat);
            let answer = client.get(&["workshops", &workshop, "seats", &seat], &what).await?;
            show_one(&answer, ui)?;
            Ok(Exit::Ok)
        }
        Seat::Destroy { workshop, seat, keep_data, connection } => {
            wish::workshop(&workshop)?;
            wish::seat(&seat)?;
            let client = connect(&connection, surroundings)?;
            let what = named(&workshop, &seat);
            client.delete(&["workshops", &workshop, "seats", &seat], &keeping(keep_data), &what).await?;
            removed(&what, keep_data, ui)
        }
    }
}

/// Says that something is gone, in the form that was asked for.
pub(super) fn removed(what: &str, keep_data: bool, ui: Ui) -> anyhow::Result<Exit> {
    match ui.output {
        Output::Table if keep_data => ui.line(&format!("{what} is gone; its data is kept"))?,
        Output::Table => ui.line(&format!("{what} is gone"))?,
        Output::Json => ui.json(&json!({ "destroyed": true, "data_kept": keep_data }))?,
        // The exit code says it, and there is no row.
        Output::Tsv => {}
    }
    Ok(Exit::Ok)
}

/// The query of a removal.
pub(super) fn keeping(keep_data: bool) -> Vec<(&'static str, String)> {
    if keep_data { vec![("keep_data", "true".into())] } else { Vec::new() }
}

/// Shows a list of seats.
pub(super) fn show_seats(answer: &Value, workshop: &str, ui: Ui) -> anyhow::Result<()> {
    if ui.output == Output::Json {
        return Ok(ui.json(answer)?);
    }
    let list: SeatList = types::read(answer)?;
    if ui.output == Output::Tsv {
        return Ok(list.seats.iter().try_for_each(|seat| ui.row(fields(seat)))?);
    }
    if list.seats.is_empty() {
        ui.note(&format!("workshop {workshop} has no seats"));
        return Ok(());
    }
    Ok(table(&list.seats, ui)?)
}

fn show_one(answer: &Value, ui: Ui) -> anyhow::Result<()> {
    if ui.output == Output::Json {
        return Ok(ui.json(answer)?);
    }
    let seat: Instance = types::read(answer)?;
    if ui.output == Output::Tsv {
        return Ok(ui.row(fields(&seat))?);
    }
    Ok(table(&[seat], ui)?)
}

/// The columns of a seat in a row for a shell script: workshop, seat, status, id, ip, endpoint, ports, image, reason.
pub(super) fn fields(seat: &Instance) -> [String; 9] {
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        seat.workshop.clone(),
        seat.seat.to_string(),
        seat.status.clone(),
        known(&seat.id),
        known(&seat.ip),
        known(&seat.endpoint),
        seat.ports.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
        known(&seat.image),
        known(&seat.reason),
    ]
}

fn table(seats: &[Instance], ui: Ui) -> std::io::Result<()> {
    let mut table = ui.table(&["SEAT", "STATUS", "ENDPOINT", "IMAGE", "REASON"]);
    for seat in seats {
        table.add_row([
            &seat.seat.to_string(),
            &seat.status,
            seat.endpoint.as_deref().unwrap_or("-"),
            seat.image.as_deref().unwrap_or("-"),
            seat.reason.as_deref().unwrap_or_default(),
        ]);
    }
    ui.line(&table.trim_fmt())
}

/// A seat that was made and does not work is a failure of the command.
fn judge(seat: &Instance, what: &str, wait: Option<Duration>, ui: Ui) -> anyhow::Result<Exit> {
    match seat.status.as_str() {
        "error" => {
            let reason = seat.reason.as_deref().unwrap_or("the service gives no reason");
            Err(Failure::new(Exit::Failure, format!("{what} does not work: {reason}")).into())
        }
        "starting" => {
            ui.note(&format!("{what} is still starting; 'orchestrator seat show' tells how far it is"));
            Ok(Exit::of_wait(wait))
        }
        _ => Ok(Exit::Ok),
    }
}

fn named(workshop: &str, seat: &str) -> String {
    format!("seat {workshop}/{seat}")
}
