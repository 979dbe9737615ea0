//! The provider over a simulated world.

mod create;
mod describe;
mod error;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seats::{
    Created, DataPolicy, ImageRef, Instance, Provider, ProviderError, ProviderKind, Scope, SeatRef, SeatSpec,
    Stage, Status, Survey, Timeline, WorkshopId,
};

use self::describe::describe;
use self::error::explain;
use crate::world::EngineError;
use crate::{Step, World};

/// Seats in a [`World`].
///
/// It knows nothing that the world does not: any number of providers over one world behave as that many services
/// on one host.
#[derive(Debug)]
pub struct SimProvider {
    world: World,
    /// One pull per image at a time; whoever waits finds the image there afterwards.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl SimProvider {
    /// A provider over this world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, pulls: Mutex::default() }
    }

    /// The world it works on.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Removes the network when no seat is in it: an empty one is worth nothing and holds addresses. Somebody
    /// who is just making a seat in it notices, and starts over.
    async fn drop_empty_network(&self, workshop: &WorkshopId, seat: &SeatRef) -> Result<(), EngineError> {
        let step = Step::RemoveNetwork;
        match self.world.call(step, Some(seat), |state| state.remove_network(workshop)).await {
            Err(EngineError::InUse(_)) => Ok(()),
            other => other,
        }
    }

    async fn remove_seat(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        let failed = |step: Step| move |error| explain(&seat.to_string(), &seat.workshop, None, step, error);
        let step = Step::RemoveInstance;
        self.world
            .call(step, Some(seat), |state| {
                state.remove_instance(seat, None);
                Ok(())
            })
            .await
            .map_err(failed(step))?;
        if data == DataPolicy::Remove {
            let step = Step::RemoveVolume;
            self.world
                .call(step, Some(seat), |state| state.remove_volume(seat, None))
                .await
                .map_err(failed(step))?;
        }
        Ok(())
    }

    async fn pull(&self, image: &ImageRef, spec: &SeatSpec) -> Result<(), EngineError> {
        let turn = {
            let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pulls.entry(image.canonical().to_owned()).or_default())
        };
        let _turn = turn.lock().await;
        if self.world.state().has_image(image) {
            return Ok(());
        }
        let known = self.world.state().pullable.get(image.canonical()).cloned();
        let Some((does, takes)) = known else {
            return Err(EngineError::NoImage("the simulated registry does not have it".into()));
        };
        if takes > Duration::ZERO {
            tokio::time::sleep(takes).await;
        }
        self.world
            .call(Step::PullImage, Some(&spec.seat), |state| {
                state.images.insert(image.canonical().to_owned(), does);
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl Provider for SimProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Sim
    }

    async fn prepare(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<(), ProviderError> {
        timeline.enter(Stage::Image);
        let image = &spec.image;
        let failed = |step: Step| {
            move |error| explain(&spec.seat.to_string(), &spec.seat.workshop, Some(image), step, error)
        };
        let step = Step::FindImage;
        let there = self
            .world
            .call(step, Some(&spec.seat), |state| Ok(state.has_image(image)))
            .await
            .map_err(failed(step))?;
        // A seat that is there already needs no image, and may well outlive it.
        if !there && self.get(&spec.seat).await?.is_none() {
            timeline.note(format!("pulling image {image}"));
            self.pull(image, spec).await.map_err(failed(Step::PullImage))?;
        }
        timeline.finish();
        Ok(())
    }

    async fn create(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError> {
        self.make(spec, timeline).await
    }

    async fn settle(&self, instance: &Instance, within: Duration) -> Result<Instance, ProviderError> {
        let seat = &instance.seat;
        let mut changes = self.world.changes();
        let deadline = tokio::time::sleep(within);
        tokio::pin!(deadline);
        loop {
            changes.mark_unchanged();
            // The seat is started. An engine that is away for a moment does not make it less so.
            if self.world.state().down {
                tokio::select! {
                    _ = changes.changed() => continue,
                    () = &mut deadline => return Ok(instance.clone()),
                }
            }
            let now =
                self.world.state().instances.get(seat).map(|found| describe(found, self.world.options()));
            let Some(now) = now.filter(|now| instance.id.is_none() || now.id == instance.id) else {
                return Err(ProviderError::Gone { seat: seat.clone() });
            };
            if now.status != Status::Starting {
                return Ok(now);
            }
            tokio::select! {
                // The world outlives its provider, so the sender is there.
                _ = changes.changed() => {}
                () = &mut deadline => return Ok(now),
            }
        }
    }

    async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        self.remove_seat(seat, data).await?;
        self.drop_empty_network(&seat.workshop, seat)
            .await
            .map_err(|error| explain(&seat.to_string(), &seat.workshop, None, Step::RemoveNetwork, error))
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, ProviderError> {
        self.world
            .call(Step::List, None, |state| {
                // The map's order is the order promised: by workshop, then by number.
                let covered = state.instances.iter().filter(|(seat, _)| scope.covers(seat));
                Ok(covered.map(|(_, found)| describe(found, self.world.options())).collect())
            })
            .await
            .map_err(error::listing)
    }

    async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, ProviderError> {
        let step = Step::List;
        self.world
            .call(step, Some(seat), |state| {
                Ok(state.instances.get(seat).map(|found| describe(found, self.world.options())))
            })
            .await
            .map_err(|error| explain(&seat.to_string(), &seat.workshop, None, step, error))
    }

    async fn destroy_workshop(&self, workshop: &WorkshopId, data: DataPolicy) -> Result<(), ProviderError> {
        let name = workshop.to_string();
        let failed = |step: Step| {
            let name = name.clone();
            move |error| explain(&name, workshop, None, step, error)
        };
        let step = Step::List;
        let seats: BTreeSet<SeatRef> = self
            .world
            .call(step, None, |state| {
                let all = state.instances.keys().chain(state.volumes.keys());
                Ok(all.filter(|seat| seat.workshop == *workshop).cloned().collect())
            })
            .await
            .map_err(failed(step))?;
        let mut first = Ok(());
        for seat in &seats {
            first = first.and(self.remove_seat(seat, data).await);
        }
        let step = Step::RemoveNetwork;
        let network = self.world.call(step, None, |state| state.remove_network(workshop)).await;
        first.and(network.map_err(failed(step)))
    }

    async fn check(&self) -> Result<Survey, ProviderError> {
        self.world.call(Step::List, None, |_| Ok(())).await.map_err(error::listing)?;
        Ok(Survey { summary: "simulated seats in the service's memory; nothing of them outlives it".into() })
    }
}
