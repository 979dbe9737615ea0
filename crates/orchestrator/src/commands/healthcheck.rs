//! `orchestrator healthcheck`: whether the service is ready, told by the exit code.
//!
//! For container engines and supervisors: an image that holds this binary alone has no other program to ask with.

use std::time::Duration;

use serde::Deserialize;

use crate::cli::Healthcheck;
use crate::client::{Client, types};
use crate::config::{self, Config, SettingFlags, Surroundings};
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Ui};

/// The service gives itself 3 s for this answer; more than that is a hang.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
struct Ready {
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    detail: String,
}

pub(super) async fn run(args: &Healthcheck, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    let given = args.url.as_deref().filter(|url| !url.is_empty());
    let url = match given {
        Some(url) => {
            config::check_variables(surroundings).map_err(Failure::from)?;
            url.to_owned()
        }
        None => {
            let loaded = Config::load(args.config.as_deref(), &SettingFlags::default(), surroundings);
            super::listening(&loaded.map_err(Failure::from)?)
        }
    };
    // Readiness is open to everybody, so the token is not sent.
    let client = Client::new(&url, None)?;
    let asked = tokio::time::timeout(WITHIN, client.get(&["readyz"], "not ready")).await;
    let answer = asked.map_err(|_| {
        let seconds = WITHIN.as_secs();
        Failure::new(
            Exit::Unavailable,
            format!("not ready: the service at {} did not answer within {seconds} s", client.base()),
        )
        .remedy("look at the service's log, and restart it if it hangs")
    })??;
    if ui.output == Output::Json {
        ui.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let ready: Ready = types::read(&answer)?;
    let checks = ready.checks.iter().map(|check| format!("{}: {}", check.name, check.detail));
    ui.line(&format!("ready ({})", checks.collect::<Vec<_>>().join("; ")))?;
    Ok(Exit::Ok)
}
