//! A listing of a class through the service, against the engine call that it needs.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde::Serialize;

use super::objects::labels;
use super::service::Client;
use super::spread::Spread;
use super::ways::millis;

/// Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Listing {
    /// `GET /workshops/{id}/seats`.
    pub(super) service_ms: Spread,
    /// `GET /containers/json` with the same filter.
    pub(super) engine_ms: Spread,
    /// The medians' ratio.
    pub(super) ratio: f64,
}

/// Calls both in turns, every other time in the other order. `None` without samples.
pub(super) async fn measure(
    docker: &Docker,
    service: &Client,
    workshop: &str,
    seats: u16,
    samples: usize,
) -> Result<Option<Listing>> {
    let wanted = labels("learner-workspace", workshop, None);
    let wanted = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let filter = HashMap::from([("label".to_owned(), wanted)]);
    let mut took: [Vec<f64>; 2] = Default::default();
    for turn in 0..samples {
        for which in [turn % 2, (turn + 1) % 2] {
            let began = Instant::now();
            if which == 0 {
                service.list_bytes(workshop).await?;
            } else {
                let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
                let listed = docker.list_containers(Some(options)).await?;
                ensure!(listed.len() == usize::from(seats), "the engine lists {} of {seats}", listed.len());
            }
            took[which].push(millis(began.elapsed()));
        }
    }
    let [service_ms, engine_ms] = took.map(Spread::of);
    let (Some(service_ms), Some(engine_ms)) = (service_ms, engine_ms) else { return Ok(None) };
    Ok(Some(Listing { service_ms, engine_ms, ratio: service_ms.median / engine_ms.median }))
}
