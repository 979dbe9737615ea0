//! Removing seats: the container first, then its data, then the network of a workshop that has no seat any more.
//! Teardown goes on after an error, returns the first, and can be repeated.

use bollard::Docker;
use bollard::query_parameters::StopContainerOptionsBuilder;
use futures_util::{StreamExt, stream};
use seats::{DataPolicy, ProviderError, SeatRef, Stage, WorkshopId};

use crate::engine::{Engine, Whom, is_status};
use crate::names::{self, Labels};
use crate::network::Whose;
use crate::provider::DockerProvider;
use crate::volume;

/// How many containers of a workshop, and then how many volumes, are removed side by side. The engine works on
/// each for some tens of milliseconds and then mostly waits for the kernel.
pub(crate) const SIDE_BY_SIDE: usize = 16;

impl DockerProvider {
    pub(crate) async fn remove_seat(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        let docker = self.client().await?;
        let whom = Whom::Seat(seat);
        let wanted = names::seat_labels(names::TYPE_CONTAINER, seat);
        let removed = self.remove_containers(&docker, &wanted, whom, data).await;
        let had_any = *removed.as_ref().unwrap_or(&0) > 0;
        let mut outcome = removed.map(|_| ());
        if outcome.is_ok() && data == DataPolicy::Remove {
            let wanted = names::seat_labels(names::TYPE_VOLUME, seat);
            outcome = volume::remove_all(&self.engine, &docker, &wanted, whom).await;
        }
        let whose = if had_any { Whose::Anyone } else { Whose::Service };
        let network = self.networks.remove_if_empty(&self.engine, &docker, &seat.workshop, whose).await;
        outcome.and(network)
    }

    pub(crate) async fn remove_workshop(
        &self,
        workshop: &WorkshopId,
        data: DataPolicy,
    ) -> Result<(), ProviderError> {
        let docker = self.client().await?;
        let whom = Whom::Workshop(workshop);
        let wanted = names::workshop_labels(names::TYPE_CONTAINER, workshop);
        let containers = self.remove_containers(&docker, &wanted, whom, data).await.map(|_| ());
        let volumes = match data {
            DataPolicy::Keep => Ok(()),
            DataPolicy::Remove => {
                let wanted = names::workshop_labels(names::TYPE_VOLUME, workshop);
                volume::remove_all(&self.engine, &docker, &wanted, whom).await
            }
        };
        let network = self.networks.remove(&self.engine, &docker, workshop, &Whose::Anyone).await;
        containers.and(volumes).and(network)
    }

    /// Removes every container that carries all of `wanted`; says how many there were.
    async fn remove_containers(
        &self,
        docker: &Docker,
        wanted: &Labels,
        whom: Whom<'_>,
        data: DataPolicy,
    ) -> Result<usize, ProviderError> {
        let listed = self.engine.containers(docker, wanted, Stage::Check, &whom).await?;
        let ids: Vec<String> = listed.into_iter().filter_map(|container| container.id).collect();
        let count = ids.len();
        let removals =
            ids.into_iter().map(|id| async move { self.remove_container(docker, &id, whom, data).await });
        let outcomes: Vec<_> = stream::iter(removals).buffer_unordered(SIDE_BY_SIDE).collect().await;
        outcomes.into_iter().collect::<Result<Vec<()>, _>>().map(|_| count)
    }

    async fn remove_container(
        &self,
        docker: &Docker,
        id: &str,
        whom: Whom<'_>,
        data: DataPolicy,
    ) -> Result<(), ProviderError> {
        if data == DataPolicy::Keep {
            // Time to write down what is to be kept. What goes with its data has nothing to write.
            let grace = i32::try_from(self.config.stop_grace.as_secs()).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(grace).build();
            match docker.stop_container(id, Some(options)).await {
                Ok(()) => {}
                // 304: it does not run. 404: somebody else removed it.
                Err(error) if is_status(&error, 304) || is_status(&error, 404) => {}
                Err(error) => return Err(self.engine.explain(error, Stage::Check, &whom)),
            }
        }
        match Engine::remove_container(docker, id, true).await {
            Ok(()) => Ok(()),
            Err(error) if is_status(&error, 404) => Ok(()),
            // Somebody else is removing it: gone means gone, so their end is waited for.
            Err(error) if is_status(&error, 409) => self.gone(docker, id, whom).await,
            Err(error) => Err(self.engine.explain(error, Stage::Check, &whom)),
        }
    }
}
