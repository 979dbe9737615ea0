//! The contract of what runs the seats.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::{Instance, Measurement, ProviderError, SeatRef, SeatSpec, Timeline, WorkshopId};

/// What creates, lists and destroys the instances of seats.
///
/// # What every provider promises
/// - **State lives in the infrastructure.** A provider made anew over the same infrastructure knows every seat.
/// - **A failed create leaves nothing.** What could not be taken back, because the infrastructure died in the
///   middle and stayed away, is found again by the next create of the seat, and goes with [`Provider::destroy`].
/// - **Removing what is not there is success**, and a removal that failed half way can be repeated.
/// - **Foreign objects are never touched**: ownership is read from labels and records, not from names.
/// - **Listing never waits for creating.**
///
/// The caller serializes operations on one seat, and a [`Provider::destroy_workshop`] against all operations on
/// that workshop; different seats come at the same time. A provider must bear the same operations from a second
/// process all the same: it may fail then, but not leak or destroy what it did not make.
///
/// Creating has two halves, so that the caller can bound the expensive first one without holding a place in line
/// while a workspace starts: [`Provider::create`] returns as soon as the instance is started, and
/// [`Provider::settle`] waits until it answers.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Which provider this is.
    fn kind(&self) -> ProviderKind;

    /// Brings in what seats of this spec share (the image), once for all that wait for it. A seat that is there
    /// already needs nothing. Dropping the future is safe and leaves nothing half done.
    ///
    /// # Errors
    /// When the image is not there and cannot be had.
    async fn prepare(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<(), ProviderError>;

    /// Makes and starts the instance of a seat, or finds the one that is there. Not to be dropped half way: run
    /// it on a task of its own.
    ///
    /// # Errors
    /// [`ProviderError::Conflict`] when the seat is there with another spec; anything else after undoing.
    async fn create(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError>;

    /// Waits until the instance answers ([`crate::Status::Running`]), is broken ([`crate::Status::Error`], with
    /// the reason), was stopped, or `within` is over; the status tells which. Dropping the future is safe.
    ///
    /// # Errors
    /// [`ProviderError::Gone`] when it was removed meanwhile.
    async fn settle(&self, instance: &Instance, within: Duration) -> Result<Instance, ProviderError>;

    /// Removes a seat: its instance, and its data unless that is to be kept.
    ///
    /// # Errors
    /// When something of it is still there.
    async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError>;

    /// The seats in scope, ordered by workshop and seat.
    ///
    /// # Errors
    /// When the infrastructure does not answer.
    async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, ProviderError>;

    /// One seat with the best diagnosis that can be had, which may cost more than listing.
    ///
    /// # Errors
    /// When the infrastructure does not answer.
    async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, ProviderError>;

    /// Removes every seat of a workshop and what they share. Goes on after an error and returns the first.
    ///
    /// # Errors
    /// When something of it is still there.
    async fn destroy_workshop(&self, workshop: &WorkshopId, data: DataPolicy) -> Result<(), ProviderError>;

    /// Asks the infrastructure whether it can serve.
    ///
    /// # Errors
    /// With what is missing and what to do about it.
    async fn check(&self) -> Result<Survey, ProviderError>;

    /// What it counts and measures of all its seats together, beyond what every provider has. Known at once: nobody is asked.
    fn measurements(&self) -> Vec<Measurement> {
        Vec::new()
    }
}

/// What a provider found when asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// What serves, with its version, such as `Docker Engine 20.10.24 (API 1.41)`.
    pub summary: String,
}

/// The outcome of [`Provider::create`].
#[derive(Clone, Debug)]
pub struct Created {
    /// What runs now.
    pub instance: Instance,
    /// Whether it was there before.
    pub disposition: Disposition,
}

/// Whether an operation made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It was not there and has been made.
    Made,
    /// The same seat with the same spec was there.
    Found,
}

/// What happens to a seat's data when the seat goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataPolicy {
    /// It stays, and is attached again when the seat is made again.
    Keep,
    /// It goes with the seat.
    Remove,
}

/// Which seats a listing covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every seat on the host.
    All,
    /// The seats of one workshop.
    Workshop(WorkshopId),
}

impl Scope {
    /// Whether a seat is in scope.
    #[must_use]
    pub fn covers(&self, seat: &SeatRef) -> bool {
        match self {
            Self::All => true,
            Self::Workshop(workshop) => *workshop == seat.workshop,
        }
    }
}

/// The kinds of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Containers on a Docker engine.
    Docker,
    /// MicroVMs, each with a kernel of its own.
    Microvm,
    /// Simulated seats in the service's own memory.
    Sim,
}

impl ProviderKind {
    /// The word that the API, the configuration and the metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Microvm => "microvm",
            Self::Sim => "sim",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
