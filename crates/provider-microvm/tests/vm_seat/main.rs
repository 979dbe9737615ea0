//! Seats over real guests under QEMU, or Firecracker where a variable says so: what a learner does to a seat from inside, what is wrong with images and wishes, and what others on
//! the host can see of it.
//!
//! Bridges and TAP devices are made, so every test runs in a network namespace of its own: by this test binary started again, for this
//! test alone. Guests run without hardware virtualization, on any machine, and are few and small. By hand, as root:
//! `cargo test -p provider-microvm --test vm_seat -- --ignored --test-threads=2`, after `cargo xtask agent` and
//! `scripts/ensure-guest-kernel.sh`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod bed;
mod beside;
mod clock;
mod etc;
mod forks;
mod forty;
mod full_disk;
#[path = "../vm_conformance/host.rs"]
mod host;
mod images;
mod memory;
mod network;
mod reference;
mod secrets;
mod snapshot;
mod wishes;

pub(crate) use vm_testbed::isolated;
