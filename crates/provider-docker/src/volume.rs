//! A seat's data.

use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};
use futures_util::{StreamExt, stream};
use seats::{ObjectKind, ProviderError, SeatRef, Stage};

use crate::destroy::SIDE_BY_SIDE;
use crate::engine::{Engine, Whom, is_status};
use crate::names::{self, Labels};

/// Makes a seat's volume, or attaches to the one that was kept.
///
/// The engine answers a create with the volume of that name, old or new, so one call tells both: whose it is
/// (its type, workshop and seat labels), and for the undo whether this attempt made it (its create id).
pub(crate) async fn ensure(
    engine: &Engine,
    docker: &Docker,
    seat: &SeatRef,
    create_id: &str,
) -> Result<(), ProviderError> {
    let name = names::volume(seat);
    let wanted = names::seat_labels(names::TYPE_VOLUME, seat);
    let labels = names::made_labels(names::TYPE_VOLUME, seat, create_id);
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    let whom = Whom::Seat(seat);
    let volume = docker.create_volume(request).await;
    let volume = volume.map_err(|error| engine.explain(error, Stage::Volume, &whom))?;
    if names::carries(&volume.labels, &wanted) {
        Ok(())
    } else {
        Err(ProviderError::Foreign { kind: ObjectKind::Volume, name, for_whom: whom.to_string() })
    }
}

/// Removes every volume that carries all of `wanted`. Goes on after an error and returns the first.
pub(crate) async fn remove_all(
    engine: &Engine,
    docker: &Docker,
    wanted: &Labels,
    whom: Whom<'_>,
) -> Result<(), ProviderError> {
    let options = ListVolumesOptionsBuilder::default().filters(&names::filter(wanted)).build();
    let listed = docker.list_volumes(Some(options)).await;
    let listed = listed.map_err(|error| engine.explain(error, Stage::Volume, &whom))?;
    let removals = listed.volumes.unwrap_or_default().into_iter();
    let removals = removals.map(|volume| async move { remove(engine, docker, volume.name, whom).await });
    let outcomes: Vec<_> = stream::iter(removals).buffer_unordered(SIDE_BY_SIDE).collect().await;
    outcomes.into_iter().collect()
}

async fn remove(engine: &Engine, docker: &Docker, name: String, whom: Whom<'_>) -> Result<(), ProviderError> {
    match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
        Ok(()) => Ok(()),
        Err(error) if is_status(&error, 404) => Ok(()),
        Err(error) if is_status(&error, 409) => {
            let detail = users(docker, &name).await;
            Err(ProviderError::InUse { kind: ObjectKind::Volume, name, for_whom: whom.to_string(), detail })
        }
        Err(error) => Err(engine.explain(error, Stage::Volume, &whom)),
    }
}

/// Which containers mount a volume, for a message.
async fn users(docker: &Docker, name: &str) -> String {
    let filter = std::collections::HashMap::from([("volume", vec![name])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
    let listed = docker.list_containers(Some(options)).await.unwrap_or_default();
    let mut who: Vec<String> = listed
        .into_iter()
        .filter_map(|container| container.names?.into_iter().next())
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect();
    who.sort();
    format!("mounted by {}", who.join(", "))
}
