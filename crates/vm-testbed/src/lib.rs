//! What tests need to boot a real guest under QEMU, without hardware virtualization and without root.
//!
//! ```text
//!   Kernel      the distribution's cloud kernel and its modules, as scripts/ensure-guest-kernel.sh unpacked them
//!   Initramfs   a busybox, the modules that are needed, and the caller's files, as a cpio archive
//!   Machine     QEMU's microvm with a serial console and disks; killed by its pid when it takes too long
//!   Console     what the guest said
//! ```

mod agent;
mod console;
mod error;
mod initramfs;
mod kernel;
mod machine;

pub use agent::agent;
pub use console::Console;
pub use error::BootError;
pub use initramfs::Initramfs;
pub use kernel::Kernel;
pub use machine::{Disk, Machine, Started};
