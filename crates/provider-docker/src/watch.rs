//! What happened to the seats' containers since somebody last looked.
//!
//! A listing is one call, and that call does not tell how often a container died, nor what its last words were,
//! nor whether its workspace answers. This task follows the engine's events and remembers those things, per
//! container. Nothing depends on it: what it does not know, because it started late or the stream broke, is found
//! out again by asking.
//!
//! ```text
//!            start             probe succeeds
//!   (new) ────────► Unknown ───────────────────► Ready ──┐ re-probed when older than READY_FOR
//!                     ▲                            │     │
//!                     └──────── die, start ────────┴─────┘
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::view::View;
use crate::{last_words, names};

/// How long a workspace that answered is believed to answer still. Its death is seen at once by the events; this
/// is for one that hangs.
const READY_FOR: Duration = Duration::from_secs(10);

/// The exit codes of a container that was stopped or killed on purpose: nobody asks for its last words.
const ORDERLY: [&str; 3] = ["0", "137", "143"];

/// Deaths further apart than this are not a loop.
const LOOP_WITHIN: Duration = Duration::from_secs(120);

const RECONNECT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    ready: Option<Instant>,
    /// When a container that runs was first found not to answer.
    silent_since: Option<Instant>,
    deaths: u32,
    last_death: Option<(Instant, String)>,
    /// The last line of the log of a container that died, fetched once per death.
    pub(crate) last_words: Option<String>,
    /// The container as it was when it was started, for whoever waits for it next.
    started: Option<View>,
    /// How many events there were that change what an inspection would say.
    changes: u64,
}

impl Seen {
    /// Whether it answered lately.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_some_and(|at| at.elapsed() < READY_FOR)
    }

    /// For how long it has not answered.
    pub(crate) fn silent_for(&self) -> Duration {
        self.silent_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The exit code of the last death, when it dies again and again.
    pub(crate) fn looping(&self) -> Option<&str> {
        let (at, code) = self.last_death.as_ref()?;
        (self.deaths >= 2 && at.elapsed() < LOOP_WITHIN).then_some(code)
    }
}

/// What is known by container id.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Mutex<HashMap<String, Seen>>,
    /// Rung at every event, for those who wait for one container.
    pub(crate) bell: Notify,
    task: OnceLock<()>,
}

impl Watch {
    /// Starts following the engine, once. The task ends when the watch is dropped.
    pub(crate) fn start(self: &Arc<Self>, engine: &Arc<Engine>) {
        self.task.get_or_init(|| {
            tokio::spawn(follow(Arc::downgrade(self), engine.clone()));
        });
    }

    pub(crate) fn of(&self, id: &str) -> Seen {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    /// Keeps the view of a container that was just started.
    pub(crate) fn started(&self, view: View) {
        let id = view.id.clone();
        self.lock().entry(id).or_default().started = Some(view);
    }

    /// Hands out what [`Watch::started`] kept, unless something happened since.
    pub(crate) fn take_started(&self, id: &str) -> Option<View> {
        self.lock().get_mut(id)?.started.take()
    }

    /// Counts the deaths and health changes of a container, for those who wait for the next.
    pub(crate) fn changes(&self, id: &str) -> u64 {
        self.lock().get(id).map_or(0, |seen| seen.changes)
    }

    /// Notes the result of a probe.
    pub(crate) fn probed(&self, id: &str, answers: bool) {
        let mut all = self.lock();
        let seen = all.entry(id.to_owned()).or_default();
        let now = Instant::now();
        if answers {
            seen.ready = Some(now);
            seen.silent_since = None;
        } else {
            seen.ready = None;
            seen.silent_since.get_or_insert(now);
        }
    }

    /// Notes the last line of a log.
    pub(crate) fn heard(&self, id: &str, last_words: String) {
        self.lock().entry(id.to_owned()).or_default().last_words = Some(last_words);
    }

    /// Forgets every container that is not in a complete listing.
    pub(crate) fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|id, _| exists(id));
    }

    /// Takes in an event; returns the container whose last words are worth fetching.
    fn event(&self, event: &EventMessage) -> Option<String> {
        let actor = event.actor.as_ref()?;
        let (id, action) = (actor.id.as_ref()?, event.action.as_ref()?);
        let mut dying = None;
        let mut all = self.lock();
        if action != "start"
            && let Some(seen) = all.get_mut(id)
        {
            seen.changes += 1;
            seen.started = None;
        }
        match action.as_str() {
            "start" => {
                let seen = all.entry(id.clone()).or_default();
                seen.ready = None;
                seen.silent_since = None;
            }
            "die" => {
                let attributes = actor.attributes.as_ref();
                let code = attributes.and_then(|known| known.get("exitCode")).cloned().unwrap_or_default();
                let seen = all.entry(id.clone()).or_default();
                let recent = seen.last_death.as_ref().is_some_and(|(at, _)| at.elapsed() < LOOP_WITHIN);
                seen.deaths = if recent { seen.deaths + 1 } else { 1 };
                if !ORDERLY.contains(&code.as_str()) {
                    dying = Some(id.clone());
                }
                seen.last_death = Some((Instant::now(), code));
                seen.ready = None;
                seen.last_words = None;
            }
            // Somebody stopped it; the death just before was no crash.
            "stop" => {
                let seen = all.entry(id.clone()).or_default();
                seen.deaths = 0;
                seen.last_death = None;
            }
            "destroy" => {
                all.remove(id);
            }
            _ => {}
        }
        drop(all);
        self.bell.notify_waiters();
        dying
    }

    /// After a gap in the events nothing is certain.
    fn doubt(&self) {
        for seen in self.lock().values_mut() {
            seen.ready = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(watch: Weak<Watch>, engine: Arc<Engine>) {
    let filters = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("{}={}", names::TYPE, names::TYPE_CONTAINER)]),
        ("event", ["start", "die", "stop", "destroy", "health_status"].map(str::to_owned).to_vec()),
    ]);
    while watch.strong_count() > 0 {
        if let Ok(docker) = engine.client().await {
            let mut events = docker.events(Some(EventsOptionsBuilder::default().filters(&filters).build()));
            while let Some(Ok(event)) = events.next().await {
                let Some(watch) = watch.upgrade() else { return };
                if let Some(id) = watch.event(&event) {
                    let docker = docker.clone();
                    tokio::spawn(async move { last_words::fetch(&docker, &watch, &id).await });
                }
            }
        }
        if let Some(watch) = watch.upgrade() {
            watch.doubt();
        }
        // The engine may come back as another version.
        engine.reset();
        tokio::time::sleep(RECONNECT).await;
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, code: &str) -> EventMessage {
        let attributes = HashMap::from([("exitCode".to_owned(), code.to_owned())]);
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some("c1".into()), attributes: Some(attributes) }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn a_restart_makes_it_unknown_again() {
        let watch = Watch::default();
        watch.probed("c1", true);
        assert!(watch.of("c1").is_ready());
        watch.event(&event("start", ""));
        assert!(!watch.of("c1").is_ready());
    }

    #[test]
    fn two_deaths_are_a_loop_and_one_is_not() {
        let watch = Watch::default();
        watch.event(&event("die", "3"));
        assert_eq!(watch.of("c1").looping(), None);
        watch.event(&event("die", "3"));
        assert_eq!(watch.of("c1").looping(), Some("3"));
        watch.event(&event("stop", ""));
        assert_eq!(watch.of("c1").looping(), None);
    }

    #[test]
    fn silence_is_measured_from_its_first_moment() {
        let watch = Watch::default();
        assert_eq!(watch.of("c1").silent_for(), Duration::ZERO);
        watch.probed("c1", false);
        let first = watch.of("c1").silent_since;
        watch.probed("c1", false);
        assert_eq!(watch.of("c1").silent_since, first);
        watch.probed("c1", true);
        assert_eq!(watch.of("c1").silent_since, None);
    }
}
