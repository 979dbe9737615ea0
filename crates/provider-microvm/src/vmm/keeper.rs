//! The keeper of a VM: a small process between the service and the VM's monitor, which outlives the service.
//!
//! ```text
//!     reads a Launch       ┌──────────┐  anything fails      ┌────────┐
//!   ──────────────────────►│ launching├─────────────────────►│ undone │ says why, ends
//!                          └────┬─────┘                      └────────┘
//!              says `started`   │   the pipe closes, the VM ends  ▲
//!                               ├─────────────────────────────────┘
//!                 `confirm`     ▼
//!                          ┌──────────┐  the VM ends     ┌──────┐
//!   writes vmm.json,       │ keeping  ├─────────────────►│ over │ exit.json, cgroup and sockets removed, ends
//!   says `confirmed`       └──────────┘                  └──────┘
//! ```
//!
//! - It has a session of its own, and ignores SIGTERM, SIGINT and SIGHUP: what stops the service does not stop VMs.
//! - The kernel kills the monitor when the keeper dies (`PR_SET_PDEATHSIG`, prctl(2)): there is no VM whose console nobody reads, whose end nobody
//!   notes and whose cgroup nobody removes. The other way round the keeper ends when the monitor does. Neither can be left over without the other.
//! - Files, sockets and the TAP are opened by the keeper as root and handed over open. The monitor's user needs to reach none of them.
//!   A monitor that takes no descriptors, as Firecracker, opens them itself, and begins in a folder of its user's for the sockets that it makes.
//! - A monitor that is jailed loses that death signal with the change of its user. So it is in a process namespace of its own, whose first process
//!   ([`init`]) keeps the signal, and takes all others of the namespace along.
//! - Nothing secret passes through it: a VM's secrets go to the guest's agent after the boot.
//!
//! It runs without an asynchronous runtime and in one thread: the death signal belongs to the thread that made the child.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

mod ahead;
pub(super) mod client;
mod init;
mod launch;
mod log;
mod open;
mod output;
mod serve;
mod spawn;
mod start;

pub use ahead::Expected;
pub(super) use ahead::Keepers;
pub(super) use launch::{Answer, Argument, GENERATION, LONGEST, Launch, Open, Request};
pub(super) use spawn::OPEN_FILES;

/// How the service starts a keeper: a program that calls [`run`], and its arguments.
#[derive(Clone, Debug)]
pub struct KeeperCommand {
    /// The program; usually the service's own.
    pub program: PathBuf,
    /// What makes it a keeper.
    pub args: Vec<OsString>,
}

impl KeeperCommand {
    /// The program that runs now, with these arguments.
    ///
    /// # Errors
    /// When its path cannot be found out.
    pub fn this_program(args: impl IntoIterator<Item = impl Into<OsString>>) -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, args: args.into_iter().map(Into::into).collect() })
    }
}

/// Is a keeper: reads what to start from standard input, answers on standard output, and returns when the VM is over.
///
/// To be called in a process that has no other thread, and nothing else to do.
#[must_use]
pub fn run() -> ExitCode {
    match serve::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
