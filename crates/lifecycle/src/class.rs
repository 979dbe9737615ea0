//! A class as one object: wish for thirty seats, get thirty answers.

use std::time::Duration;

use seats::{Instance, SeatId, Stage, StageTiming, WorkshopId};
use tokio::sync::mpsc;

/// What became of one seat of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeatOutcome {
    /// It was not there and has been made.
    Created,
    /// It was there as wished.
    Unchanged,
    /// It is there with another spec, and was left alone.
    Conflict,
    /// It could not be made, or it is there and does not work.
    Failed,
    /// It was not wished for and has been destroyed (only when pruning was asked for).
    Destroyed,
    /// It was not wished for and was left alone.
    Surplus,
}

impl SeatOutcome {
    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Unchanged => "unchanged",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Destroyed => "destroyed",
            Self::Surplus => "surplus",
        }
    }

    /// Whether the seat is not as the request wishes it.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Conflict | Self::Failed)
    }
}

/// The answer for one seat.
#[derive(Clone, Debug)]
pub struct SeatReport {
    /// Which seat.
    pub seat: SeatId,
    /// What became of it.
    pub outcome: SeatOutcome,
    /// The seat as it is now, when it is there.
    pub instance: Option<Instance>,
    /// The stable code of the error, when there was one.
    pub code: Option<&'static str>,
    /// Why it failed, in words a person can act on.
    pub reason: Option<String>,
    /// How long each stage took.
    pub timings: Vec<StageTiming>,
    /// From the start of the class until this answer.
    pub took: Duration,
}

/// The answer for a class.
#[derive(Clone, Debug)]
pub struct ClassReport {
    /// Which workshop.
    pub workshop: WorkshopId,
    /// Every seat, by number.
    pub seats: Vec<SeatReport>,
    /// How long it took.
    pub took: Duration,
}

impl ClassReport {
    /// Whether every wished seat is there as wished.
    #[must_use]
    pub fn converged(&self) -> bool {
        !self.seats.iter().any(|seat| seat.outcome.is_failure())
    }
}

/// What happens while a class converges.
#[derive(Clone, Debug)]
pub enum ClassEvent {
    /// A seat entered a stage.
    Stage {
        /// Which seat.
        seat: SeatId,
        /// Which stage.
        stage: Stage,
        /// How far the stage is, when it tells.
        note: Option<String>,
    },
    /// A seat is done.
    Seat(Box<SeatReport>),
    /// The class is done; the last event.
    Done(ClassReport),
}

/// A class that converges on tasks of its own. Dropping this stops watching, not the work.
#[derive(Debug)]
pub struct ClassRun {
    pub(crate) events: mpsc::Receiver<ClassEvent>,
}

impl ClassRun {
    /// The next event; `None` after [`ClassEvent::Done`], or when the work was lost.
    pub async fn next(&mut self) -> Option<ClassEvent> {
        self.events.recv().await
    }

    /// Waits for the end. `None` when the work was lost (it panicked; the log has the reason).
    pub async fn finish(mut self) -> Option<ClassReport> {
        while let Some(event) = self.next().await {
            if let ClassEvent::Done(report) = event {
                return Some(report);
            }
        }
        None
    }
}
