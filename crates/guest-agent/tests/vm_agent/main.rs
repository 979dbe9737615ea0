//! The agent as the first process of real guests under QEMU.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod guest;
mod image;
mod life;
mod link;
mod standalone;
mod trouble;
mod workspace;

/// Whether this machine has what the tests take.
fn can_run() -> bool {
    vm_testbed::can_run(&[vm_testbed::Need::Guest, vm_testbed::Need::Agent])
}
