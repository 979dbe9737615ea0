//! How the guests of seats came up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seats::{Measurement, MeasurementKind};

/// A way in which a guest came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It booted, as it should.
    Booted,
    /// It went on from a snapshot.
    Restored,
    /// It booted, and should have gone on from a snapshot.
    BootedInstead,
}

impl Way {
    const ALL: [Self; 3] = [Self::Booted, Self::Restored, Self::BootedInstead];

    fn labels(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Booted => &[("way", "booted")],
            Self::Restored => &[("way", "restored")],
            Self::BootedInstead => &[("way", "booted_instead")],
        }
    }
}

/// How many guests came up in which way, until their agents had their configuration, since the provider was made. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Starts(Arc<[AtomicU64; Way::ALL.len()]>);

impl Starts {
    /// How many came up in this way.
    #[must_use]
    pub fn of(&self, way: Way) -> u64 {
        self.0[way as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, way: Way) {
        self.0[way as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn measurements(&self) -> impl Iterator<Item = Measurement> {
        Way::ALL.into_iter().map(|way| Measurement {
            name: "microvm_guests_started",
            help: "Guests that came up, by how",
            kind: MeasurementKind::Counter,
            labels: way.labels(),
            value: self.of(way),
        })
    }
}
