//! The simulated infrastructure.

mod control;
mod engine;
mod faults;
mod process;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use engine::EngineError;
pub use faults::{Fault, Gate};
pub(crate) use state::{CreateId, Run, SimInstance, State};

use crate::{SimImage, Step};

/// The image that every world has: it answers as soon as it is started.
pub const DEFAULT_IMAGE: &str = "clarateach-workspace";

/// How a [`World`] is laid out.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// Whether running seats really listen, each port on an ephemeral one of 127.0.0.1, and answer
    /// `GET /health`. Without it endpoints name the simulated address and nothing answers there; statuses are
    /// the same. Switch it off for classes of hundreds.
    pub http: bool,
    /// How long a started workspace may stay silent before it counts as broken.
    pub start_timeout: Duration,
    /// How many workshops there are networks for, at most 1024 (a /16 cut into /26).
    pub networks: u16,
    /// How many seats of a workshop there are addresses for, at most 61 (a /26 without its ends and gateway).
    pub addresses: u16,
    /// How long each step takes, where [`World::set_latency`] says nothing else.
    pub latency: Duration,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            http: true,
            start_timeout: Duration::from_secs(60),
            networks: 1024,
            addresses: 61,
            latency: Duration::ZERO,
        }
    }
}

/// A simulated engine with everything in it. Clones share it; it ends with the last clone and provider.
///
/// Seats run as tasks on the runtime that starts them.
#[derive(Clone)]
pub struct World(Arc<Inner>);

pub(crate) struct Inner {
    options: WorldOptions,
    state: Mutex<State>,
    /// Counts changes, so that whoever waits for one sleeps instead of polling.
    changes: watch::Sender<u64>,
}

impl World {
    /// An empty world with [`DEFAULT_IMAGE`] in it.
    #[must_use]
    pub fn new(options: WorldOptions) -> Self {
        let (networks, addresses) = (options.networks.min(1024), options.addresses.min(61));
        let options = WorldOptions { networks, addresses, ..options };
        let world = Self(Arc::new(Inner {
            options,
            state: Mutex::new(State::default()),
            changes: watch::Sender::new(0),
        }));
        if let Ok(image) = DEFAULT_IMAGE.parse() {
            world.add_image(&image, SimImage::good());
        }
        world
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &WorldOptions {
        &self.0.options
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn changed(&self) {
        self.0.changed();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(WorldOptions::default())
    }
}

impl fmt::Debug for World {
    /// Shows what exists, never what a seat was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("World").field(&self.inventory()).finish()
    }
}

/// How long each step takes, where it is not the usual.
pub(crate) type Latencies = BTreeMap<Step, Duration>;
