//! Whether the service runs, and what it says about itself.

use seats::Finding;
use serde::Deserialize;

use super::super::listening;
use crate::client::{Client, types};
use crate::config::Config;
use crate::exit::Exit;

const NAME: &str = "service";

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
    provider: String,
}

/// Asks the service at `url`, or where the configuration says that it listens.
pub(super) async fn check(url: Option<&str>, config: &Config) -> Finding {
    let url = url.map_or_else(|| listening(config), str::to_owned);
    let client = match Client::new(&url, config.token.clone()) {
        Ok(client) => client,
        Err(failure) => return Finding::error(NAME, failure.message, failure.remedy.unwrap_or_default()),
    };
    let answer = client.get(&["version"], NAME).await.and_then(|answer| types::read::<Version>(&answer));
    match answer {
        Ok(version) => match client.get(&["readyz"], NAME).await {
            Ok(_) => Finding::ok(
                NAME,
                format!("version {} serves {} seats at {}", version.version, version.provider, client.base()),
            ),
            Err(failure) => {
                let remedy =
                    format!("see what {}/readyz says; the checks above name most causes", client.base());
                Finding::warning(NAME, format!("it runs but is not ready: {}", failure.message), remedy)
            }
        },
        Err(failure) if failure.exit == Exit::Unavailable => Finding::warning(
            NAME,
            format!("nothing answers at {}", client.base()),
            "start it: orchestrator serve",
        ),
        Err(failure) => Finding::error(
            NAME,
            failure.message,
            failure
                .remedy
                .unwrap_or_else(|| "something else may listen there: choose another address".into()),
        ),
    }
}
