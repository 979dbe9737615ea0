//! The first process of a microVM.
//!
//! ```text
//!   boot         mounts, modules, and finding out which of two it is:
//!     link         from the first root: waits for the host on the virtio-serial port
//!     standalone   as `init=` of an image's own disk: runs the image, without a host
//!   guest        what is known: configuration, phase, health, log
//!   seat         turning the guest into a seat: disks, overlay, network, files of /etc
//!   run          programs: users, variables, starting, reaping, starting again
//!   serve        what the host can ask for, over HTTP/2
//!   power        the end
//!   sys          the system calls that no library has a safe door to
//! ```
//!
//! It never ends without saying why on the console, in one line that begins with `clarateach-agent:`. What fails before the host can
//! be told ends the machine; what fails afterwards is in the health.

#![cfg(target_os = "linux")]

mod boot;
mod console;
mod guest;
mod power;
mod run;
mod seat;
mod serve;
mod sys;

pub use boot::main;
