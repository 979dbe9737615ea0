//! The bodies that callers get.

mod class;
mod instance;
mod system;
mod timing;
mod workshop;

pub(crate) use class::{ClassBody, ClassProgress, Counts, Outcome, SeatResult, StageBody};
pub(crate) use instance::{InstanceBody, ProviderName, StatusName};
pub(crate) use system::{CheckBody, HealthBody, ReadyBody, VersionBody};
pub(crate) use timing::{millis, server_timing};
pub(crate) use workshop::{SeatsBody, WorkshopBody, WorkshopsBody};
