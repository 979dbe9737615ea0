//! Workshops on the wire.

use std::collections::BTreeMap;

use seats::{Instance, Status, WorkshopId};
use serde::Serialize;
use utoipa::ToSchema;

use super::InstanceBody;

/// The seats of one workshop.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Seats)]
pub(crate) struct SeatsBody {
    /// The workshop.
    #[schema(examples("rust-101"))]
    pub(crate) workshop: String,
    /// Its seats by number; empty for a workshop without any.
    #[schema(inline = false)]
    pub(crate) seats: Vec<InstanceBody>,
}

/// How many seats are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    running: usize,
    starting: usize,
    stopped: usize,
    error: usize,
}

impl Tally {
    fn count(&mut self, status: Status) {
        match status {
            Status::Running => self.running += 1,
            Status::Starting => self.starting += 1,
            Status::Stopped => self.stopped += 1,
            Status::Error => self.error += 1,
        }
    }

    fn of(instances: &[Instance]) -> Self {
        let mut tally = Self::default();
        for instance in instances {
            tally.count(instance.status);
        }
        tally
    }
}

/// One workshop with its seats.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workshop)]
pub(crate) struct WorkshopBody {
    /// The workshop.
    #[schema(examples("rust-101"))]
    workshop: String,
    /// How many seats are `running`.
    running: usize,
    /// How many seats are `starting`.
    starting: usize,
    /// How many seats are `stopped`.
    stopped: usize,
    /// How many seats are in `error`.
    error: usize,
    /// Its seats by number; at least one.
    #[schema(inline = false)]
    seats: Vec<InstanceBody>,
}

impl WorkshopBody {
    pub(crate) fn new(workshop: &WorkshopId, instances: Vec<Instance>) -> Self {
        let Tally { running, starting, stopped, error } = Tally::of(&instances);
        let seats = instances.into_iter().map(InstanceBody::from).collect();
        Self { workshop: workshop.to_string(), running, starting, stopped, error, seats }
    }
}

/// Every workshop that has a seat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workshops)]
pub(crate) struct WorkshopsBody {
    /// By name.
    workshops: Vec<WorkshopSummary>,
}

/// A workshop in numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkshopSummary)]
pub(crate) struct WorkshopSummary {
    /// The workshop.
    #[schema(examples("rust-101"))]
    workshop: String,
    /// How many seats it has.
    seats: usize,
    /// How many of them are `running`.
    running: usize,
    /// How many of them are `starting`.
    starting: usize,
    /// How many of them are `stopped`.
    stopped: usize,
    /// How many of them are in `error`.
    error: usize,
}

impl WorkshopsBody {
    pub(crate) fn new(instances: &[Instance]) -> Self {
        let mut tallies: BTreeMap<&WorkshopId, Tally> = BTreeMap::new();
        for instance in instances {
            tallies.entry(&instance.seat.workshop).or_default().count(instance.status);
        }
        let summary = |(workshop, tally): (&WorkshopId, Tally)| {
            let Tally { running, starting, stopped, error } = tally;
            let seats = running + starting + stopped + error;
            WorkshopSummary { workshop: workshop.to_string(), seats, running, starting, stopped, error }
        };
        Self { workshops: tallies.into_iter().map(summary).collect() }
    }
}
