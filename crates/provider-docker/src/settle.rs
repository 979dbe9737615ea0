//! Waiting until a started container answers.
//!
//! Connections to the workspace's ports are cheap, so they are tried often. The engine is asked seldom: the
//! events say when a container died or its health changed, and only in case they are missed is it asked anyway.

use std::time::{Duration, Instant};

use bollard::Docker;
use seats::{Instance, ProviderError, Status};

use crate::provider::DockerProvider;
use crate::view::{State, View};
use crate::{last_words, probe};

/// Between two probes: at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How often the engine is asked without an event to ask about.
const ASK_ANYWAY: Duration = Duration::from_secs(2);

impl DockerProvider {
    pub(crate) async fn wait_until_settled(
        &self,
        instance: &Instance,
        within: Duration,
    ) -> Result<Instance, ProviderError> {
        let began = Instant::now();
        let docker = self.client().await?;
        let Some(id) = instance.id.as_deref() else { return Ok(instance.clone()) };
        let mut pause = FIRST_PAUSE;
        let mut changes = self.watch.changes(id);
        let mut view = match self.watch.take_started(id) {
            Some(view) => view,
            None => self.inspect(&docker, &instance.seat, id).await?,
        };
        let mut asked = Instant::now();
        loop {
            // Enabled before looking, so that an event in between is not missed.
            let bell = self.watch.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            let known = self.watch.changes(id);
            if known != changes || asked.elapsed() > ASK_ANYWAY {
                match self.inspect(&docker, &instance.seat, id).await {
                    Ok(seen) => view = seen,
                    Err(gone @ ProviderError::Gone { .. }) => return Err(gone),
                    // The seat is started. An engine that is away for a moment does not make it less so.
                    Err(error) => tracing::debug!(seat = %instance.seat, %error, "asking again"),
                }
                (changes, asked) = (known, Instant::now());
            }
            let now = self.judge(&docker, &view).await;
            if now.status != Status::Starting {
                return Ok(now);
            }
            if began.elapsed() >= within {
                let had_its_time = within >= self.config.start_timeout;
                return Ok(if had_its_time { given_up(now, within) } else { now });
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = bell => {}
            }
        }
    }

    /// The instance as it is now, with a fresh probe and, when it died, its last words.
    pub(crate) async fn judge(&self, docker: &Docker, view: &View) -> Instance {
        let silent = self.probe(view).await;
        if matches!(view.state, State::Restarting | State::Exited)
            || self.watch.of(&view.id).looping().is_some()
        {
            last_words::fetch(docker, &self.watch, &view.id).await;
        }
        self.instance(view, silent.as_deref())
    }

    /// Probes a running container that has no health check of its own; says why it does not answer.
    pub(crate) async fn probe(&self, view: &View) -> Option<String> {
        if view.state != State::Running || view.health.is_some() {
            return None;
        }
        let answer = match view.target(&self.config) {
            Some(target) => probe::answers(&target).await,
            None => Err("it has no address yet".to_owned()),
        };
        self.watch.probed(&view.id, answer.is_ok());
        answer.err()
    }
}

fn given_up(mut instance: Instance, within: Duration) -> Instance {
    let what = instance.reason.take().unwrap_or_else(|| "it does not answer".to_owned());
    instance.status = Status::Error;
    instance.reason = Some(format!("{what} after {} s; see its log, or destroy the seat", within.as_secs()));
    instance
}
