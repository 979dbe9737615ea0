//! The real Firecracker with real Linux guests, in an outer guest whose KVM runs them: on any machine with QEMU.
//!
//! Each test runs in an outer guest of its own, one after the other: the test programs of this crate (`fc_client`, `fc_jail`, `vm_conformance`, `vm_seat`), as they were
//! built last, and a guest of one of these tests alone. All that they take is this host's.
//!
//! By hand, as root, with `FIRECRACKER_BIN` and `JAILER_BIN` set: `cargo test -p provider-microvm --test fc_client --test fc_jail --test vm_conformance
//! --test vm_seat --no-run`, then `cargo test -p provider-microvm --test fc_nested -- --ignored`, after `cargo xtask agent`, `scripts/ensure-guest-kernel.sh` and
//! `scripts/ensure-guest-kernel.sh generic`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "what the guests say is the transcript of these tests")]

mod linux;
mod programs;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Far more than an emulated host needs on a busy machine: only what hangs gets there.
pub(crate) const LIMIT: Duration = Duration::from_secs(90 * 60);

/// One outer guest at a time: each has the memory of several other tests, and two processors.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
