//! The domain of the orchestrator: what a workshop, a seat and an instance are, and what a provider promises.
//!
//! This crate does no input or output and knows no runtime, no engine and no HTTP. Text that comes from outside
//! is parsed here into types that cannot hold anything else ([`WorkshopId`], [`SeatId`], [`EnvVars`], …), so no
//! other crate checks a string twice. The contract between the service and whatever runs the seats is
//! [`Provider`].

mod api_key;
mod env;
mod error;
mod finding;
mod id;
mod image;
mod instance;
mod limits;
mod measurement;
mod provider;
mod spec;
mod timeline;
pub mod workspace;

pub use api_key::{ApiKey, InvalidApiKey};
pub use env::{EnvName, EnvVars, InvalidEnv};
pub use error::{ObjectKind, ProviderError, SpecDifference};
pub use finding::{Finding, Level};
pub use id::{InvalidSeatBound, InvalidSeatId, InvalidWorkshopId, SeatBound, SeatId, SeatRef, WorkshopId};
pub use image::{ImageRef, InvalidImageRef};
pub use instance::{Instance, Status};
pub use limits::{InvalidLimits, Limits};
pub use measurement::{Measurement, MeasurementKind};
pub use provider::{Created, DataPolicy, Disposition, Provider, ProviderKind, Scope, Survey};
pub use spec::SeatSpec;
pub use timeline::{Stage, StageTiming, Timeline};
