//! What a provider's tests tell the suite about the infrastructure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seats::{ImageRef, Limits, ObjectKind, Provider, SeatRef, WorkshopId};

use crate::Stop;

/// The infrastructure as seen past the provider. Every method but [`Harness::provider`] goes its own way to the
/// infrastructure; one that asked the provider would only learn what the provider believes.
///
/// What a harness cannot do it answers with [`Stop::Skip`] and the reason; that is what the default methods do.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A new provider over the same infrastructure. It shares no memory with those handed out before, so two of
    /// them are a service before and after its restart, or two services on one host.
    fn provider(&self) -> Arc<dyn Provider>;

    /// What exists for a workshop, whatever its state: by label or record, as an outsider would look for it.
    async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop>;

    /// An image that behaves like that. It is on the host already, but for [`TestImage::Missing`].
    fn image(&self, kind: TestImage) -> Result<ImageRef, Stop>;

    /// Writes a file to the seat's data volume; the seat runs.
    async fn write_marker(&self, seat: &SeatRef, content: &str) -> Result<(), Stop>;

    /// Reads that file; `None` when it is not there. The seat runs.
    async fn read_marker(&self, seat: &SeatRef) -> Result<Option<String>, Stop>;

    /// Takes the name that the seat (or its workshop's network) needs, as somebody else would: without the
    /// service's labels. The suite removes it again with [`Harness::remove_foreign`].
    async fn plant_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop>;

    /// Whether what was planted is still there, the same object and unchanged.
    async fn foreign_is_untouched(&self, kind: ObjectKind, seat: &SeatRef) -> Result<bool, Stop>;

    /// Removes what was planted. Success when it is not there.
    async fn remove_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop>;

    /// Everything that an outsider can read of the seat's objects: names, labels, events, logs, command lines. Not
    /// the environment inside the seat, where its secrets belong.
    async fn secrets_surface(&self, seat: &SeatRef) -> Result<String, Stop>;

    /// Stops the seat on purpose, as an operator would with the engine's own tools.
    async fn stop(&self, _seat: &SeatRef) -> Result<(), Stop> {
        Err(Stop::skip("this harness cannot stop a seat"))
    }

    /// The environment of the seat's workspace.
    async fn environment(&self, _seat: &SeatRef) -> Result<BTreeMap<String, String>, Stop> {
        Err(Stop::skip("this harness cannot read a seat's environment"))
    }

    /// The limits that the infrastructure holds the seat to.
    async fn limits(&self, _seat: &SeatRef) -> Result<Limits, Stop> {
        Err(Stop::skip("this harness cannot read a seat's limits"))
    }

    /// Whether a program in the seat can open a TCP connection to an address.
    async fn can_connect(&self, _from: &SeatRef, _to: SocketAddr) -> Result<bool, Stop> {
        Err(Stop::skip("this harness cannot run a program in a seat"))
    }

    /// For how long an open way from seat to seat may be the infrastructure's doing and no fault of the provider: its
    /// rules are away for moments while other checks' networks come and go. A way that is open all that time fails.
    fn isolation_lapses_for(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether this process reaches the endpoints of seats.
    fn endpoints_are_reachable(&self) -> Result<(), Stop> {
        Ok(())
    }

    /// What a started workspace may take until it answers; the provider was made with the same. A few seconds,
    /// for the sake of [`TestImage::Mute`].
    fn start_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The limits of the suite's seats: small, because there are many.
    fn small(&self) -> Limits {
        Limits { cpu_millis: 500, memory_mib: 128, pids: 128 }
    }

    /// How many seats the suite's class has.
    fn class_size(&self) -> u16 {
        10
    }

    /// When to give up on a check. Far beyond what the slowest machine needs.
    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }
}

/// Images with a known behaviour. All of them listen, or would, on the workspace's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestImage {
    /// Answers `GET /health` on every port, soon.
    Good,
    /// Like [`TestImage::Good`], but another image.
    Other,
    /// Answers after a second or so, well within the start timeout.
    Slow,
    /// Prints [`TestImage::LAST_LINE`] and exits with [`TestImage::EXIT_CODE`], at once and every time.
    ExitsAtOnce,
    /// Runs for ever and never listens.
    Mute,
    /// Like [`TestImage::Good`], and ignores requests to end.
    Stubborn,
    /// Neither on the host nor in any registry.
    Missing,
}

impl TestImage {
    /// How [`TestImage::ExitsAtOnce`] exits.
    pub const EXIT_CODE: i32 = 3;
    /// What [`TestImage::ExitsAtOnce`] says last.
    pub const LAST_LINE: &'static str = "boom: no licence file";
}

/// What exists for a workshop, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Containers or microVMs, running or not.
    pub instances: BTreeSet<String>,
    /// Networks.
    pub networks: BTreeSet<String>,
    /// Volumes, attached or kept.
    pub volumes: BTreeSet<String>,
    /// Anything else that a provider makes: files, processes, rules, devices.
    pub other: BTreeSet<String>,
}

impl Inventory {
    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing of a seat is there: what is left is at most the workshop's network.
    #[must_use]
    pub fn has_no_seat(&self) -> bool {
        self.instances.is_empty() && self.volumes.is_empty() && self.other.is_empty()
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, networks, volumes, other } = self;
        write!(f, "instances {instances:?}, networks {networks:?}, volumes {volumes:?}, other {other:?}")
    }
}
