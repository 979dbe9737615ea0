//! The end of a demo: everything goes, and that is verified by somebody else than the service.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::child::show;
use crate::demo::Options;
use crate::demo::claim::Claim;
use crate::demo::portal::Portal;
use crate::service::Service;
use crate::stop::Stop;
use crate::{console, engine};

/// How long the service may take for a workshop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Removes what the demo made. Not even Ctrl-C cuts this short; each step has its own limit.
pub(crate) async fn run(
    service: Service,
    portal: Option<Portal>,
    claim: &Claim,
    options: &Options,
) -> Result<()> {
    // First, so that nobody asks the service for more.
    let portal = match portal {
        Some(portal) => portal.stop(claim).await,
        None => Ok(()),
    };
    // Whoever tried the routes may have made workshops of their own; those of other services stay.
    let mut workshops = made(&std::fs::read_to_string(&service.log).unwrap_or_default());
    workshops.insert(options.workshop.clone());
    for workshop in &workshops {
        let mut down = service.client(&["class", "down", workshop]);
        let status = tokio::time::timeout(PATIENCE, show(&mut down, &Stop::never())).await;
        if !matches!(status, Ok(Ok(status)) if status.success()) {
            console::line(&format!("  the service did not remove {workshop}; docker will"));
        }
    }
    let pid = service.id();
    let stopped = service.stop().await;
    claim.forget_process("service");
    console::line(&format!("service (pid {pid}) stopped"));

    let mut left = BTreeSet::new();
    for workshop in &workshops {
        if !engine::objects(Some(workshop)).await?.is_empty() {
            engine::remove(workshop).await?;
            left.append(&mut engine::objects(Some(workshop)).await?);
        }
    }
    for object in &left {
        console::line(&format!("  left: {object}"));
    }
    ensure!(left.is_empty(), "the demo could not remove all that it made");
    claim.forget_workshop();
    console::line("nothing is left: no container, no network, no volume");
    stopped.and(portal)
}

/// The workshops that this service made a network for.
fn made(log: &str) -> BTreeSet<String> {
    let entries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    entries
        .filter(|entry| entry["message"] == "network made")
        .filter_map(|entry| entry["workshop"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workshops_that_this_service_made_are_its_own() {
        let log = r#"
{"message":"network made","workshop":"abc","subnet":"10.213.0.0/25"}
not json
{"message":"network removed","workshop":"xyz"}
{"message":"network made","workshop":"def"}"#;
        assert_eq!(made(log).into_iter().collect::<Vec<_>>(), ["abc", "def"]);
    }
}
