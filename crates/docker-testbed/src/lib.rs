//! What the tests on a real Docker engine share.
//!
//! - [`Host`]: the engine of this machine, and what an outsider sees of a workshop on it.
//! - [`TestWorkshop`]: a workshop of one test, removed when that test fails.
//! - [`PrivateEngine`]: an engine that a test may kill, restart and fill up.
//! - [`Registry`]: a registry with one image, slow enough to watch.
//! - [`FaultProxy`]: a wire to an engine that fails the call it is told to fail, before or after its effect.
//!
//! Only tests use this crate; it is no part of the product.

mod fault_proxy;
mod host;
mod private_engine;
mod registry;
mod workshop;

pub use fault_proxy::{Fault, FaultProxy};
pub use host::{Host, Remains};
pub use hyper::Method;
pub use private_engine::PrivateEngine;
pub use registry::Registry;
pub use workshop::TestWorkshop;

/// The image that answers on the workspace's ports within milliseconds (`images/testbed`).
pub const IMAGE: &str = "clarateach-testbed";
