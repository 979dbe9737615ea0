//! What tests need to boot a real guest under QEMU, without hardware virtualization and without root.
//!
//! ```text
//!   Kernel      the distribution's cloud kernel and its modules, as scripts/ensure-guest-kernel.sh unpacked them, or another one
//!   Initramfs   a busybox, the modules that are needed, and the caller's files, as a cpio archive
//!   Machine     QEMU's microvm with a serial console and disks; killed by its pid when it takes too long
//!   Console     what the guest said
//!   Outer       a guest that is itself a host of guests, with a KVM that runs them; a program of this host runs in it
//!   TestProgram a test program of this build, which runs there
//!   nested      the body of a test in such a guest
//!   BareMetal   a guest without an operating system, for monitors and machines that run no stock kernel
//!   firecracker, jailer   where the real ones are, when a variable names them
//!   archives    images for seats that are such guests, as docker save writes them
//!   Image       one such image, made file by file
//!   workspace   the reference image, where a variable names it
//!   isolated    a network namespace for a test that makes bridges
//!   Namespace   one with a name, for what a test starts
//!   SmallDisk   a file system that is soon full
//!   Ground      what seats left on a host
//!   free_port   where a program may listen that cannot choose a port itself
//!   Mapping     how a process maps a file
//!   can_run     whether this machine has what a test takes; tells it as skipped when not
//! ```

mod agent;
mod console;
mod disk;
mod error;
mod firecracker;
mod image;
mod initramfs;
mod kernel;
#[expect(clippy::unwrap_used, reason = "it is a part of tests, which may stop at the first surprise")]
mod left;
mod machine;
mod mapping;
mod metal;
mod namespace;
mod needs;
mod nested;
mod netns;
mod outer;
mod paths;
mod port;
mod tool;
mod workspace;

pub use agent::agent;
pub use console::Console;
pub use disk::SmallDisk;
pub use error::BootError;
pub use firecracker::{UNDER_FIRECRACKER, firecracker, jailer};
pub use image::{IMAGE, Image, archives};
pub use initramfs::Initramfs;
pub use kernel::Kernel;
pub use left::{Ground, Process, cgroups, is_of_tables, processes, told_of};
pub use machine::{Disk, Machine, Started};
pub use mapping::Mapping;
pub use metal::BareMetal;
pub use namespace::isolated;
pub use needs::{Need, can_run, skip};
pub use nested::nested;
pub use netns::Namespace;
pub use outer::{Outer, OuterRun, TestProgram};
pub use port::free_port;
pub use workspace::{WORKSPACE, workspace};
