//! The service as its operators run it, over real guests under QEMU.
//!
//! Bridges and TAP devices are made, so every test runs in a network namespace of its own: by this test binary started again, for
//! this test alone. Guests run without hardware virtualization, on any machine, and are few and small. By hand, as root:
//! `cargo test -p orchestrator --test vm_service -- --ignored --test-threads=2`, after `cargo xtask agent` and
//! `scripts/ensure-guest-kernel.sh`; `CLARATEACH_WORKSPACE` names an archive of the reference image (`images/workspace/build.sh --archive`).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "a transcript is what one of the tests is for")]

mod chaos;
mod class;
mod disk;
mod host;
mod images;
mod lacks;
mod neighbours;
mod portal;
#[path = "../cli/process.rs"]
mod process;
mod registry;
mod rights;
mod same;
mod snapshot;
mod steps;
mod trouble;

pub(crate) use vm_testbed::isolated;
