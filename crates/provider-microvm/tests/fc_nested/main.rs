//! The real Firecracker with real Linux guests, in an outer guest whose KVM runs them: on any machine with QEMU.
//!
//! Each test runs in an outer guest of its own, two at a time: the test programs of this crate (`fc_client`, `fc_jail`, `vm_conformance`, `vm_seat`), as they were
//! built last, and a guest of one of these tests alone. All that they take is this host's.
//!
//! By hand, as root, with `FIRECRACKER_BIN` and `JAILER_BIN` set: `cargo test -p provider-microvm --test fc_client --test fc_jail --test vm_conformance
//! --test vm_seat --no-run`, then `cargo test -p provider-microvm --test fc_nested -- --ignored`, after `cargo xtask agent`, `scripts/ensure-guest-kernel.sh` and
//! `scripts/ensure-guest-kernel.sh generic`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "what the guests say is the transcript of these tests")]

mod bounds;
mod linux;
mod programs;

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Far more than an emulated host needs on a busy machine: only what hangs gets there.
pub(crate) const LIMIT: Duration = Duration::from_secs(90 * 60);

/// How many outer guests there may be at a time: each has a processor, and the memory of several other tests.
static PLACES: Mutex<u32> = Mutex::new(2);
/// One was given back.
static LEFT: Condvar = Condvar::new();

/// The place of an outer guest.
pub(crate) struct Place(());

impl Place {
    /// Waits for one.
    pub(crate) fn take() -> Self {
        let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places =
            LEFT.wait_while(places, |places| *places == 0).unwrap_or_else(PoisonError::into_inner);
        *places -= 1;
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *PLACES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        LEFT.notify_one();
    }
}
