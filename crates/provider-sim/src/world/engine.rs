//! One call to the simulated engine: its latency, its faults, and then its effect.

use std::time::Duration;

use seats::{ObjectKind, SeatRef};

use super::faults::{Action, Moment};
use super::{State, World};
use crate::Step;

/// What the simulated engine answers instead of a result.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// It does not answer at all.
    Down,
    /// It refuses, or its answer was lost.
    Refused(String),
    /// No room on the host.
    Full(String),
    /// The name belongs to someone else.
    Foreign { kind: ObjectKind, name: String },
    /// Still used by something.
    InUse(String),
    /// No address is left.
    NoAddress(String),
    /// The image is not there.
    NoImage(String),
    /// What an earlier step saw has changed since: somebody else works on the same seat.
    Raced,
    /// The container was removed meanwhile.
    Gone,
}

impl World {
    /// Makes one call. `seat` is what it is for, so that faults can pick their victim.
    pub(crate) async fn call<T>(
        &self,
        step: Step,
        seat: Option<&SeatRef>,
        effect: impl FnOnce(&mut State) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let latency = self.latency(step);
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        } else {
            // Even an engine without latency lets others in between two calls; races show up only so.
            tokio::task::yield_now().await;
        }
        let action = self.begin(step, seat)?;
        if let Some((Moment::Before, action)) = &action {
            self.suffer(step, action).await?;
        }
        // An engine that went down while the call hung has not seen it.
        let result = {
            let mut state = self.state();
            if state.down {
                return Err(EngineError::Down);
            }
            effect(&mut state)
        };
        self.changed();
        if let Some((Moment::After, action)) = &action {
            self.suffer(step, action).await?;
        }
        result
    }

    fn latency(&self, step: Step) -> Duration {
        self.state().latencies.get(&step).copied().unwrap_or(self.options().latency)
    }

    /// Counts the call and picks the fault that hits it.
    fn begin(&self, step: Step, seat: Option<&SeatRef>) -> Result<Option<(Moment, Action)>, EngineError> {
        let mut state = self.state();
        if state.down {
            return Err(EngineError::Down);
        }
        *state.calls.entry(step).or_default() += 1;
        let mut hit = None;
        for armed in &mut state.faults {
            let fires = armed.meets(step, seat);
            if fires && hit.is_none() {
                hit = Some((armed.fault.moment, armed.action.clone()));
            }
        }
        Ok(hit)
    }

    async fn suffer(&self, step: Step, action: &Action) -> Result<(), EngineError> {
        match action {
            Action::Refuse => Err(EngineError::Refused(format!("simulated fault in step {step:?}"))),
            Action::Full => Err(EngineError::Full(format!("no space left on device in step {step:?}"))),
            Action::Hang(latch) => {
                latch.pass().await;
                Ok(())
            }
        }
    }
}
