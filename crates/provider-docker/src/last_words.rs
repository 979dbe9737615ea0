//! The last line of a log: what a workspace said before it died, without the secrets it was given.

use bollard::Docker;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use futures_util::StreamExt;
use seats::workspace;

use crate::names;
use crate::watch::Watch;

/// The longest line worth showing, in characters.
const LONGEST: usize = 300;

/// Shorter values are words of any language; to blank them would tell more than it hides.
const SHORTEST_SECRET: usize = 4;

const REDACTED: &str = "[redacted]";

/// Fetches the last line of a container's log into the watch, unless it is known already.
///
/// Programs do print a key that was refused, and what is fetched here goes into answers and logs. So the values
/// that the caller gave the seat are blanked first; a container that cannot be asked for them is not quoted.
pub(crate) async fn fetch(docker: &Docker, watch: &Watch, id: &str) {
    if watch.of(id).last_words.is_some() {
        return;
    }
    let Ok(inspected) = docker.inspect_container(id, None::<InspectContainerOptions>).await else { return };
    let secrets = secrets(&inspected.config.unwrap_or_default());
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("5").build();
    let mut chunks = docker.logs(id, Some(options));
    let mut said = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        said.extend_from_slice(&chunk.into_bytes());
    }
    // Silence is an answer too.
    watch.heard(id, last_line(&String::from_utf8_lossy(&said), &secrets));
}

/// The values in a container's environment that a caller gave it, line by line, the longest first.
fn secrets(config: &ContainerConfig) -> Vec<String> {
    let labels = config.labels.as_ref();
    let given = labels.and_then(|labels| labels.get(names::ENV)).map_or("", String::as_str);
    let is_given = |name: &str| {
        let is_open = seats::EnvVars::DEFAULTED.contains(&name);
        name == workspace::API_KEY || (!is_open && given.split(',').any(|known| known == name))
    };
    let variables = config.env.iter().flatten().filter_map(|variable| variable.split_once('='));
    let values = variables.filter(|(name, _)| is_given(name)).map(|(_, value)| value);
    let lines = values.flat_map(str::lines).filter(|line| line.len() >= SHORTEST_SECRET);
    let mut secrets: Vec<String> = lines.map(str::to_owned).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The last line that says something, fit for a message: no secrets, no control characters, not too long.
fn last_line(said: &str, secrets: &[String]) -> String {
    let mut said = said.to_owned();
    for secret in secrets {
        said = said.replace(secret, REDACTED);
    }
    let clean =
        |line: &str| -> String { line.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect() };
    said.lines().rev().map(clean).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_gave_is_not_quoted() {
        let labels = names::Labels::from([(names::ENV.to_owned(), "TOKEN,N".to_owned())]);
        let env = [
            "ANTHROPIC_API_KEY=sk-canary-1\nsk-canary-2-of-it",
            "TOKEN=sk-canary-1-longer",
            "N=ok",
            "PATH=/bin:/usr/bin",
        ];
        let config = ContainerConfig {
            labels: Some(labels),
            env: Some(env.map(str::to_owned).to_vec()),
            ..ContainerConfig::default()
        };
        let secrets = secrets(&config);
        assert_eq!(secrets, ["sk-canary-1-longer", "sk-canary-2-of-it", "sk-canary-1"]);
        let line =
            last_line("ok\nbad key sk-canary-1 or sk-canary-1-longer, is /bin:/usr/bin ok?\n\n", &secrets);
        assert_eq!(line, "bad key [redacted] or [redacted], is /bin:/usr/bin ok?");
    }

    #[test]
    fn what_is_no_secret_is_quoted() {
        let labels = names::Labels::from([(names::ENV.to_owned(), seats::EnvVars::DEFAULTED.join(","))]);
        let config = ContainerConfig {
            labels: Some(labels),
            env: Some(vec!["AUTH_DISABLED=false".to_owned(), "JWKS_URL=http://x/jwks".to_owned()]),
            ..ContainerConfig::default()
        };
        assert!(secrets(&config).is_empty());
    }

    #[test]
    fn the_last_line_is_fit_for_a_message() {
        assert_eq!(last_line("one\r\n\u{1b}[31mtwo\u{7}\r\n \n", &[]), "[31mtwo");
        assert_eq!(last_line("", &[]), "");
        assert_eq!(last_line(&"x".repeat(1000), &[]).len(), LONGEST);
    }
}
