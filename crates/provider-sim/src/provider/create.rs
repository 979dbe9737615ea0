//! Making a seat: steps, each with its undo.
//!
//! ```text
//!   find ──there──► same spec? ──no──► Conflict
//!    │                  └─yes─► start it when it does not run ──► Found
//!    └─absent─► network ─► volume ─► create ─► start ─► inspect ──► Made
//!                  └─────────┴─────────┴────────┴──────────┴─ any failure ─► undo, in reverse
//! ```
//!
//! A failed call may have had its effect all the same (only its answer was lost), so the undo does not ask how far
//! the create came: it removes whatever carries this create's id, and the network when it is empty.

use seats::{Created, Disposition, Instance, ProviderError, SeatSpec, Stage, Timeline};

use super::SimProvider;
use super::describe::describe;
use super::error::explain;
use crate::Step;
use crate::world::{CreateId, EngineError, State};

/// How often a create starts over because a second service worked on the same workshop at the same moment.
const ATTEMPTS: usize = 32;

enum Stop {
    /// The ground moved: start over.
    Raced,
    /// It failed.
    Failed(ProviderError),
}

impl SimProvider {
    pub(super) async fn make(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError> {
        for _ in 0..ATTEMPTS {
            let attempt = self.attempt(spec, timeline).await;
            timeline.finish();
            match attempt {
                Ok(created) => return Ok(created),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Raced) => {}
            }
        }
        Err(self.explain(spec, Step::Create, EngineError::Raced))
    }

    async fn attempt(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, Stop> {
        timeline.enter(Stage::Check);
        let seat = &spec.seat;
        let found = self
            .step(spec, Step::FindSeat, |state| {
                let found = state.instances.get(seat);
                Ok(found.map(|found| (found.differences(spec), describe(found, self.world.options()))))
            })
            .await?;
        match found {
            Some((differences, instance)) if differences.is_empty() => {
                self.wake(spec, instance, timeline).await
            }
            Some((differences, _)) => {
                Err(Stop::Failed(ProviderError::Conflict { seat: seat.clone(), differences }))
            }
            None => {
                let create = self.world.state().next_create();
                let made = self.build(spec, create, timeline).await;
                if made.is_err() {
                    timeline.enter(Stage::Undo);
                    self.undo(spec, create).await;
                }
                made
            }
        }
    }

    /// The seat is there as wished. What does not run is started; one that fails to start stays as it was,
    /// because this create has made nothing of it.
    async fn wake(&self, spec: &SeatSpec, found: Instance, timeline: &Timeline) -> Result<Created, Stop> {
        // What runs has an address, whether it answers or not.
        if found.ip.is_some() {
            return Ok(Created { instance: found, disposition: Disposition::Found });
        }
        timeline.enter(Stage::Start);
        self.step(spec, Step::Start, |state| state.start(&spec.seat, self.world.inner())).await?;
        timeline.enter(Stage::Inspect);
        let instance = self.inspect(spec).await?;
        Ok(Created { instance, disposition: Disposition::Found })
    }

    async fn build(&self, spec: &SeatSpec, create: CreateId, timeline: &Timeline) -> Result<Created, Stop> {
        let seat = &spec.seat;
        let options = self.world.options();
        timeline.enter(Stage::Network);
        self.step(spec, Step::Network, |state| state.ensure_network(&seat.workshop, options.networks))
            .await?;
        timeline.enter(Stage::Volume);
        self.step(spec, Step::Volume, |state| state.ensure_volume(seat, create)).await?;
        timeline.enter(Stage::Create);
        self.step(spec, Step::Create, |state| state.create(spec, create, options.addresses)).await?;
        timeline.enter(Stage::Start);
        self.step(spec, Step::Start, |state| state.start(seat, self.world.inner())).await?;
        timeline.enter(Stage::Inspect);
        let instance = self.inspect(spec).await?;
        Ok(Created { instance, disposition: Disposition::Made })
    }

    async fn inspect(&self, spec: &SeatSpec) -> Result<Instance, Stop> {
        self.step(spec, Step::Inspect, |state| {
            let found = state.instances.get(&spec.seat).ok_or(EngineError::Gone)?;
            Ok(describe(found, self.world.options()))
        })
        .await
    }

    /// Goes on after an error, because each removed object is one less to find later. What stays is visible in
    /// the list or goes with the next destroy.
    async fn undo(&self, spec: &SeatSpec, create: CreateId) {
        let seat = &spec.seat;
        let instance = self.world.call(Step::RemoveInstance, Some(seat), |state| {
            state.remove_instance(seat, Some(create));
            Ok(())
        });
        let mut results = vec![(Step::RemoveInstance, instance.await)];
        let volume = self
            .world
            .call(Step::RemoveVolume, Some(seat), |state| state.remove_volume(seat, Some(create)))
            .await;
        // A volume in use has a new owner: somebody else's create found it and goes on with it.
        if !matches!(volume, Err(EngineError::InUse(_))) {
            results.push((Step::RemoveVolume, volume));
        }
        results.push((Step::RemoveNetwork, self.drop_empty_network(&seat.workshop, seat).await));
        for (step, result) in results {
            if let Err(error) = result {
                tracing::warn!(%seat, ?step, ?error, "the undo of a failed create left something behind");
            }
        }
    }

    async fn step<T>(
        &self,
        spec: &SeatSpec,
        step: Step,
        effect: impl FnOnce(&mut State) -> Result<T, EngineError>,
    ) -> Result<T, Stop> {
        self.world.call(step, Some(&spec.seat), effect).await.map_err(|error| match error {
            EngineError::Raced => Stop::Raced,
            EngineError::Gone => Stop::Failed(ProviderError::Gone { seat: spec.seat.clone() }),
            error => Stop::Failed(self.explain(spec, step, error)),
        })
    }

    fn explain(&self, spec: &SeatSpec, step: Step, error: EngineError) -> ProviderError {
        explain(&spec.seat.to_string(), &spec.seat.workshop, Some(&spec.image), step, error)
    }
}
