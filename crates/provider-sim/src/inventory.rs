//! What exists in a world, for leak checks.

use seats::{ObjectKind, WorkshopId};

use crate::names::{instance_name, network_name, volume_name};
use crate::world::State;

/// The names of everything in a [`crate::World`], each list in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The service's containers, whatever their state.
    pub instances: Vec<String>,
    /// The service's networks.
    pub networks: Vec<String>,
    /// The service's volumes, attached or kept.
    pub volumes: Vec<String>,
    /// The objects planted by [`crate::World::plant_foreign`].
    pub foreign: Vec<(ObjectKind, String)>,
}

impl Inventory {
    /// Whether nothing of the service's is there. Foreign objects do not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// What of the service's belongs to a workshop for which `wanted` holds.
    pub(crate) fn of(state: &State, wanted: impl Fn(&WorkshopId) -> bool) -> Self {
        Self {
            instances: state
                .instances
                .keys()
                .filter(|seat| wanted(&seat.workshop))
                .map(instance_name)
                .collect(),
            networks: state.networks.keys().filter(|workshop| wanted(workshop)).map(network_name).collect(),
            volumes: state.volumes.keys().filter(|seat| wanted(&seat.workshop)).map(volume_name).collect(),
            foreign: state.foreign.clone(),
        }
    }
}
