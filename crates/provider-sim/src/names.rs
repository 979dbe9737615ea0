//! The names of simulated objects: the same as the Docker provider's, for messages; nothing parses them.

use seats::{SeatRef, WorkshopId};

/// The name of a workshop's network.
#[must_use]
pub fn network_name(workshop: &WorkshopId) -> String {
    format!("clarateach-{workshop}")
}

/// The name of a seat's container.
#[must_use]
pub fn instance_name(seat: &SeatRef) -> String {
    format!("clarateach-{}-{}", seat.workshop, seat.seat)
}

/// The name of a seat's volume.
#[must_use]
pub fn volume_name(seat: &SeatRef) -> String {
    format!("{}-data", instance_name(seat))
}
