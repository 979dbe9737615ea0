//! The service as its operators run it, over real guests under QEMU.
//!
//! Bridges and TAP devices are made, so every test runs in a network namespace of its own: by this test binary started again, for
//! this test alone. Guests run without hardware virtualization, on any machine, and are few and small. By hand, as root:
//! `cargo test -p orchestrator --test vm_service -- --ignored --test-threads=2`, after `cargo xtask agent` and
//! `scripts/ensure-guest-kernel.sh`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod chaos;
mod class;
mod disk;
mod host;
mod images;
mod lacks;
mod left;
mod neighbours;
mod portal;
#[path = "../cli/process.rs"]
mod process;
mod registry;
mod same;
mod trouble;

/// Runs a test in a network namespace of its own.
macro_rules! isolated {
    ($name:ident, $body:expr) => {
        vm_testbed::isolated(
            concat!(module_path!(), "::", stringify!($name)).split_once("::").unwrap().1,
            $body,
        )
    };
}
pub(crate) use isolated;
