//! What an engine does after the caller has given up.
//!
//! A call that ended without an answer may still be in the engine's queue: an overloaded engine makes the container
//! a minute after the undo found nothing to take back. So for a while somebody looks for what carries the id of the
//! attempt. A container that has been started meanwhile was found and adopted by a later create of the seat, and is
//! left alone. So is the volume in any case: by then it may hold what a learner wanted kept. An empty one that
//! nobody wants goes with the next destroy of the seat.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerSummaryStateEnum;
use seats::{ProviderError, SeatRef, Stage};

use crate::engine::{Engine, Whom};
use crate::names;

/// How often, and how many times, it looks: for five minutes, longer than any call may take by default.
const PAUSE: Duration = Duration::from_secs(5);
const LOOKS: u32 = 60;

/// Looks for the objects of a failed attempt for a while, in the background.
pub(crate) fn sweep(engine: Arc<Engine>, seat: SeatRef, create_id: String) {
    tokio::spawn(async move {
        for _ in 0..LOOKS {
            tokio::time::sleep(PAUSE).await;
            let Ok(docker) = engine.client().await else { continue };
            match look(&engine, &docker, &seat, &create_id).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(%seat, %error, "looking again for what came late"),
            }
        }
    });
}

async fn look(
    engine: &Engine,
    docker: &Docker,
    seat: &SeatRef,
    create_id: &str,
) -> Result<(), ProviderError> {
    let whom = Whom::Seat(seat);
    let wanted = names::made_labels(names::TYPE_CONTAINER, seat, create_id);
    for late in engine.containers(docker, &wanted, Stage::Undo, &whom).await? {
        let (Some(id), Some(ContainerSummaryStateEnum::CREATED)) = (late.id, late.state) else { continue };
        tracing::warn!(%seat, "the engine made a container after its call was given up; removing it");
        let removed = Engine::remove_container(docker, &id, false).await;
        removed.map_err(|error| engine.explain(error, Stage::Undo, &whom))?;
    }
    Ok(())
}
