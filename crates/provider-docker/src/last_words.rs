//! The last line of a log: what a workspace said before it died.

use bollard::Docker;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use crate::watch::Watch;

/// The longest line worth showing, in characters.
const LONGEST: usize = 300;

/// Fetches the last line of a container's log into the watch, unless it is known already.
pub(crate) async fn fetch(docker: &Docker, watch: &Watch, id: &str) {
    if watch.of(id).last_words.is_some() {
        return;
    }
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("5").build();
    let mut chunks = docker.logs(id, Some(options));
    let mut last = None;
    while let Some(Ok(chunk)) = chunks.next().await {
        let text = String::from_utf8_lossy(&chunk.into_bytes()).into_owned();
        last = text.lines().rev().map(clean).find(|line| !line.is_empty()).or(last);
    }
    // Silence is an answer too; a container that is gone has none.
    watch.heard(id, last.unwrap_or_default());
}

/// What may go into a message: no control characters, no more than a line's worth.
fn clean(line: &str) -> String {
    line.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
