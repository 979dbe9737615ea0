//! How long each stage of an operation took, and which one it is in now.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A stage of making or removing a seat. The names appear in `Server-Timing`, in metrics and in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// In line for its turn.
    Queue,
    /// Looking whether the seat is there already.
    Check,
    /// Making sure that the image is on the host; pulls it when it is not.
    Image,
    /// The workshop's network.
    Network,
    /// The seat's data volume.
    Volume,
    /// The container or microVM itself.
    Create,
    /// Making what microVMs of its kind go on from instead of booting, or waiting until somebody has made it.
    Snapshot,
    /// Starting a microVM from that, and waiting for its agent.
    Restore,
    /// Starting it; a microVM boots.
    Start,
    /// Reading back its address.
    Inspect,
    /// Waiting until the workspace answers.
    Ready,
    /// Taking back what a failed create had made.
    Undo,
}

impl Stage {
    /// The name, a token in the sense of RFC 9110, as `Server-Timing` needs it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Check => "check",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Create => "create",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Start => "start",
            Self::Inspect => "inspect",
            Self::Ready => "ready",
            Self::Undo => "undo",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finished stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageTiming {
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
}

#[derive(Debug, Default)]
struct State {
    finished: Vec<StageTiming>,
    now: Option<(Stage, Instant)>,
    note: Option<String>,
}

/// The stages of one operation, written by whoever does the work and readable at any moment by whoever waits.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<State>);

impl Timeline {
    /// Begins a stage; the one before it ends here.
    pub fn enter(&self, stage: Stage) {
        self.step(Some(stage));
    }

    /// Ends the last stage.
    pub fn finish(&self) {
        self.step(None);
    }

    /// Says how far the current stage is ("pulling image: 120 of 400 MiB"). Gone when the stage ends.
    pub fn note(&self, text: impl Into<String>) {
        self.state().note = Some(text.into());
    }

    /// The stage it is in, and how far that is when the stage tells.
    #[must_use]
    pub fn now(&self) -> Option<(Stage, Option<String>)> {
        let state = self.state();
        state.now.map(|(stage, _)| (stage, state.note.clone()))
    }

    /// The finished stages in their order.
    #[must_use]
    pub fn timings(&self) -> Vec<StageTiming> {
        self.state().finished.clone()
    }

    fn step(&self, next: Option<Stage>) {
        let now = Instant::now();
        let mut state = self.state();
        if let Some((stage, since)) = state.now.take() {
            state.finished.push(StageTiming { stage, took: now - since });
        }
        state.note = None;
        state.now = next.map(|stage| (stage, now));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        let timeline = Timeline::default();
        assert_eq!(timeline.now(), None);
        timeline.enter(Stage::Image);
        timeline.note("half");
        assert_eq!(timeline.now(), Some((Stage::Image, Some("half".into()))));
        timeline.enter(Stage::Create);
        assert_eq!(timeline.now(), Some((Stage::Create, None)));
        timeline.finish();
        timeline.finish();
        let stages: Vec<_> = timeline.timings().iter().map(|timing| timing.stage).collect();
        assert_eq!(stages, [Stage::Image, Stage::Create]);
    }
}
