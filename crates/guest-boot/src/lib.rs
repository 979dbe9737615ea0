//! The kernel of microVMs, its modules and the first root that the agent starts in.
//!
//! ```text
//!   find       a kernel: a file, an unpacked package of a distribution, or the host's own
//!   kernel     what the file is: format and processor by its header, its configuration
//!   modules    the kernel's modules by name, with what they need, in the order in which they can be loaded
//!   check      what a seat needs of a kernel: built in, as modules, or missing, and what to do then
//!   agent      whether a program can be the first process
//!   cpio       the archive format of the first root
//!   initramfs  the first root
//!   setup      all of it, into a prepared boot
//!   prepared   what was prepared: kept by its digest, opened by whoever starts a microVM
//! ```
//!
//! The kernel and the first root are the same for all seats and hold nothing of any: no secret, no name. What a seat is for, its agent
//! hears after the boot.

pub mod agent;
mod architecture;
pub mod check;
pub mod cpio;
mod decompress;
mod error;
pub mod find;
mod initramfs;
pub mod kernel;
pub mod modules;
pub mod prepared;
mod setup;

pub use agent::Agent;
pub use architecture::Architecture;
pub use error::{AgentError, KernelError, SetupError};
pub use initramfs::BootFile;
pub use prepared::{Boot, BootError, BootId};
pub use setup::{Report, SetupOptions, setup};
