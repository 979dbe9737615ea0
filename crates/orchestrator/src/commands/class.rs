//! `orchestrator class …`

use serde_json::{Map, Value};

use super::came_up::{self, CameUp};
use super::progress::Progress;
use super::seat::{fields, keeping, removed, show_seats};
use super::{connect, wish};
use crate::cli::Class;
use crate::client::types::{self, ClassReport, Instance, SeatReport, Workshop, WorkshopList};
use crate::client::{Client, broken};
use crate::config::Surroundings;
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Ui};

pub(super) async fn run(command: Class, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    match command {
        Class::Up { workshop, seats, prune, keep_data, wait, wish: wished, connection } => {
            wish::workshop(&workshop)?;
            let seats = wish::seats(&seats)?;
            let client = connect(&connection, surroundings)?;
            let mut body = wish::body(&wished, surroundings)?;
            body.insert("seats".into(), seats);
            let mut query = keeping(keep_data);
            query.extend(prune.then(|| ("prune", "true".into())));
            let wait = wait.as_deref().map(wish::duration).transpose()?;
            let work = up(&client, &workshop, &query, body, ui);
            let Some(wait) = wait else { return work.await };
            match tokio::time::timeout(wait, work).await {
                Ok(done) => done,
                Err(_) => {
                    ui.note("the time to wait is over; the service goes on, and this is how far it is:");
                    list(&client, &workshop, ui).await?;
                    Ok(Exit::of_wait(Some(wait)))
                }
            }
        }
        Class::List { workshop: Some(workshop), connection } => {
            wish::workshop(&workshop)?;
            list(&connect(&connection, surroundings)?, &workshop, ui).await
        }
        Class::List { workshop: None, connection } => {
            let client = connect(&connection, surroundings)?;
            let answer = client.get(&["workshops"], "the workshops").await?;
            show_workshops(&answer, ui)
        }
        Class::Down { workshop, keep_data, connection } => {
            wish::workshop(&workshop)?;
            let client = connect(&connection, surroundings)?;
            let what = format!("workshop {workshop}");
            client.delete(&["workshops", &workshop], &keeping(keep_data), &what).await?;
            removed(&what, keep_data, ui)
        }
    }
}

/// Shows the seats of a workshop.
pub(super) async fn list(client: &Client, workshop: &str, ui: Ui) -> anyhow::Result<Exit> {
    let answer = client.get(&["workshops", workshop, "seats"], &format!("workshop {workshop}")).await?;
    show_seats(&answer, workshop, ui)?;
    Ok(Exit::Ok)
}

async fn up(
    client: &Client,
    workshop: &str,
    query: &[(&'static str, String)],
    body: Map<String, Value>,
    ui: Ui,
) -> anyhow::Result<Exit> {
    let wished = match body.get("seats") {
        Some(Value::Array(list)) => list.len() as u64,
        Some(count) => count.as_u64().unwrap_or_default(),
        None => 0,
    };
    let what = format!("workshop {workshop}");
    let mut events = client.put_events(&["workshops", workshop], query, &Value::Object(body), &what).await?;
    let mut progress = Progress::new(wished, ui);
    while let Some(event) = events.next().await? {
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| broken(&format!("an event is not JSON: {error}")))?;
        match event.name.as_str() {
            "stage" => progress.stage(types::read(&data)?),
            "seat" => progress.seat(&types::read(&data)?),
            "done" => {
                progress.finish();
                return finish(&data, &what, ui);
            }
            "problem" => {
                let detail =
                    data.get("detail").and_then(Value::as_str).unwrap_or("the service gives no reason");
                return Err(Failure::new(Exit::Failure, format!("{what}: {detail}")).into());
            }
            // A newer service may tell more.
            _ => {}
        }
    }
    Err(broken("it ended before the class was done").into())
}

fn finish(answer: &Value, what: &str, ui: Ui) -> anyhow::Result<Exit> {
    let report: ClassReport = types::read(answer)?;
    match ui.output {
        Output::Json => ui.json(answer)?,
        Output::Table => table(&report.seats, ui)?,
        Output::Tsv => report.seats.iter().try_for_each(|seat| row(&report.workshop, seat, ui))?,
    }
    let failed: Vec<_> = report.seats.iter().filter(|seat| seat.failed()).collect();
    if failed.is_empty() {
        return Ok(Exit::Ok);
    }
    let details = failed.iter().map(|seat| {
        format!("seat {}: {}", seat.seat, seat.reason.as_deref().unwrap_or(seat.outcome.as_str()))
    });
    let down = failed.iter().all(|seat| seat.code.as_deref() == Some("engine_unavailable"));
    let exit = if down { Exit::Unavailable } else { Exit::Partly };
    let message = format!("{what}: {} of {} seats failed", failed.len(), report.seats.len());
    Err(Failure::new(exit, message)
        .details(details.collect())
        .remedy("mend what the reasons say and run the same command again; seats that are there as wished are left alone")
        .into())
}

fn table(seats: &[SeatReport], ui: Ui) -> std::io::Result<()> {
    let mut table = ui.table(&["SEAT", "OUTCOME", "STATUS", "ENDPOINT", "CAME UP", "STAGES", "REASON"]);
    for report in seats {
        let instance = report.instance.as_ref();
        let reason = report.reason.as_deref().or_else(|| instance?.reason.as_deref());
        table.add_row([
            report.seat.to_string().as_str(),
            report.outcome.as_str(),
            instance.map_or("-", |seat| seat.status.as_str()),
            instance.and_then(|seat| seat.endpoint.as_deref()).unwrap_or("-"),
            CameUp::of(report).map_or_else(|| "-".to_owned(), |up| up.short()).as_str(),
            came_up::stages(report).as_str(),
            reason.unwrap_or_default(),
        ]);
    }
    ui.line(&table.trim_fmt())
}

/// A seat of a class in a row for a shell script: the outcome, the columns of a seat, how it came up (`restored`, `booted` or `started`), and how many
/// milliseconds each stage took.
fn row(workshop: &str, report: &SeatReport, ui: Ui) -> std::io::Result<()> {
    let instance = report.instance.clone().unwrap_or_else(|| Instance {
        workshop: workshop.to_owned(),
        seat: report.seat,
        ..Instance::default()
    });
    let reason = report.reason.clone().or_else(|| instance.reason.clone());
    let way = CameUp::of(report).map(|up| up.way.word().to_owned()).unwrap_or_default();
    let first = std::iter::once(report.outcome.clone()).chain(fields(&Instance { reason, ..instance }));
    ui.row(first.chain([way, came_up::millis(report)]))
}

fn show_workshops(answer: &Value, ui: Ui) -> anyhow::Result<Exit> {
    if ui.output == Output::Json {
        ui.json(answer)?;
        return Ok(Exit::Ok);
    }
    let list: WorkshopList = types::read(answer)?;
    let cells = |shop: &Workshop| {
        let counts = [shop.seats, shop.running, shop.starting, shop.stopped, shop.error];
        std::iter::once(shop.workshop.clone())
            .chain(counts.map(|count| count.to_string()))
            .collect::<Vec<_>>()
    };
    if ui.output == Output::Tsv {
        list.workshops.iter().try_for_each(|shop| ui.row(cells(shop)))?;
        return Ok(Exit::Ok);
    }
    if list.workshops.is_empty() {
        ui.note("there is no workshop");
        return Ok(Exit::Ok);
    }
    let mut table = ui.table(&["WORKSHOP", "SEATS", "RUNNING", "STARTING", "STOPPED", "ERROR"]);
    for shop in &list.workshops {
        table.add_row(cells(shop));
    }
    ui.line(&table.trim_fmt())?;
    Ok(Exit::Ok)
}
