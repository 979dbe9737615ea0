//! The one test suite that every provider must pass.
//!
//! A provider's tests implement [`Harness`], which tells this crate how to look at the infrastructure behind the
//! provider's back, and expand [`suite!`], which turns every check into a `#[test]` of its own:
//!
//! ```text
//! async fn make() -> Result<MyHarness, conformance::Stop> { … }
//! conformance::suite!(make);
//! ```
//!
//! A check gets a [`Context`] with workshops of its own; whatever it made is removed afterwards, whether it passed
//! or not, and something that then is still there fails it. What cannot be checked on some infrastructure ends as
//! [`Verdict::Skipped`] with the reason, and counts as that, never as passed. No check asserts a time: waits are
//! bounded by the harness's patience, which is meant for the slowest machine.

#[macro_use]
mod macros;

mod checks;
mod context;
mod harness;
mod http;
mod report;
mod run;
mod verdict;

pub use checks::all;
pub use context::Context;
pub use harness::{Harness, Inventory, TestImage};
pub use report::{Entry, Report};
pub use run::{Check, judge, run, test_one};
pub use verdict::{Stop, Verdict};
