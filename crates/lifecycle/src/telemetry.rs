//! What the lifecycle tells whoever counts.

use std::time::Duration;

use seats::{ProviderKind, StageTiming};

/// The operations that are counted and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Making a seat, until it is started.
    Create,
    /// From started until it answers.
    Settle,
    /// Removing a seat.
    Destroy,
    /// Removing a workshop.
    DestroyWorkshop,
    /// Listing seats.
    List,
}

impl Operation {
    /// The word that the metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Settle => "settle",
            Self::Destroy => "destroy",
            Self::DestroyWorkshop => "destroy_workshop",
            Self::List => "list",
        }
    }
}

/// How an operation ended: `"ok"`, or the stable code of its error.
pub type OperationOutcome = &'static str;

/// Receives what happens, as it happens. Implementations must not block.
pub trait Telemetry: Send + Sync + 'static {
    /// An operation ended.
    fn operation(
        &self,
        operation: Operation,
        provider: ProviderKind,
        outcome: OperationOutcome,
        took: Duration,
    );

    /// A create went through these stages.
    fn stages(&self, provider: ProviderKind, timings: &[StageTiming]);
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Telemetry for Silent {
    fn operation(&self, _: Operation, _: ProviderKind, _: OperationOutcome, _: Duration) {}

    fn stages(&self, _: ProviderKind, _: &[StageTiming]) {}
}
