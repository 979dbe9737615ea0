//! What every provider needs around it.
//!
//! A [`seats::Provider`] knows how to make one seat. [`Lifecycle`] makes that into a service: operations on one
//! seat take turns in the order they came, different seats go side by side within an admission bound, a class
//! converges as one object, work goes on (or unwinds) although its caller went away, and whoever asks sees what
//! is under way.
//!
//! ```text
//!   create ──► ticket ──► turn of the seat ──► admission ──► Provider::create ──► Provider::settle ──► reply
//!              (429 when   (first come,        (2 × cores     (engine work,        (waits, holds
//!               too many)   first served)       at a time)     holds the turn)      nothing)
//! ```
//!
//! Everything right of the ticket runs on a task of its own: a caller that gives up stops waiting, not the work.

mod admission;
mod class;
mod converge;
mod create;
mod error;
mod inflight;
mod policy;
mod request;
mod service;
mod telemetry;
mod turns;

pub use class::{ClassEvent, ClassReport, ClassRun, SeatOutcome, SeatReport};
pub use error::LifecycleError;
pub use policy::{AllowedImage, InvalidPolicy, Policy};
pub use request::{ClassRequest, CreateReply, LimitsRequest, SeatRequest};
pub use service::{Lifecycle, Load};
pub use telemetry::{Operation, OperationOutcome, Silent, Telemetry};
