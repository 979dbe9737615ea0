//! What a demo shows.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::child;
use crate::console;
use crate::demo::Options;
use crate::service::Service;

/// Asks every port of every seat for its health, with curl as anybody could, and shows the answers.
pub(crate) async fn health(seats: &[Value]) -> Result<()> {
    let mut sick = 0;
    for seat in seats {
        let number = &seat["seat"];
        let endpoint = seat["endpoint"].as_str().context("a seat has no endpoint")?;
        console::line(&format!("  seat {number}  {}", console::styled("1", endpoint)));
        let endpoints = seat["endpoints"].as_object().context("a seat has no endpoints")?;
        for (port, url) in endpoints {
            let url = url.as_str().context("an endpoint is no text")?;
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5"]);
            let (mark, answer) = match child::output(curl.arg(format!("{url}/health"))).await {
                Ok(answer) => (console::styled("32", "ok"), answer),
                Err(error) => {
                    sick += 1;
                    (console::styled("31", "no"), format!("{error:#}"))
                }
            };
            console::line(&format!("    {mark}  {port}  GET /health  {}", answer.trim()));
        }
    }
    ensure!(sick == 0, "{sick} of the ports do not answer");
    Ok(())
}

/// Says what to try next.
pub(crate) fn next(service: &Service, binary: &Path, options: &Options) {
    let (url, workshop, binary) = (service.url(), &options.workshop, binary.display());
    let next = options.seats + 1;
    console::title("What to try next, in another terminal");
    console::dim("  # the four routes that a portal calls");
    console::line(&format!("  curl {url}/workshops/{workshop}/seats"));
    console::line(&format!(
        "  curl -X POST {url}/workshops/{workshop}/seats -H 'content-type: application/json' -d '{{\"seat\": {next}}}'"
    ));
    console::line(&format!("  curl -X DELETE {url}/workshops/{workshop}/seats/{next}"));
    console::line(&format!("  curl -X DELETE {url}/workshops/{workshop}"));
    console::dim("  # the same from the command line, and a look at this host");
    if options.port != 8080 {
        console::line(&format!("  export ORCHESTRATOR_URL={url}"));
    }
    console::line(&format!("  alias orchestrator={binary}"));
    console::line("  orchestrator class list");
    console::line(&format!("  orchestrator class up {workshop} --seats {}", next + 2));
    console::line("  orchestrator doctor");
}
