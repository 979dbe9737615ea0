//! Turning a guest into a seat.
//!
//! ```text
//!   clock, entropy, host name, interface        what needs no file
//!   disk `root`     ext4, read-only ──┐
//!   disk `scratch`  ext4 ─────────────┴─▶ overlay ─▶ becomes /      (the first root stays below it, out of sight)
//!   disk `data`     ext4, its folder `workspace` ──▶ /workspace
//!   /etc/{hostname,hosts,resolv.conf,machine-id}, a control group
//! ```
//!
//! Whatever fails is told in words that name the seat's part, in the health and on the console; nothing is tried again in the
//! same machine. The folder of the workspace gets its first content under another name and is then renamed, so a machine that ends in
//! between begins anew.

mod bare;
mod cgroup;
mod copy;
mod disks;
mod etc;
mod machine;
mod mounts;
mod network;
mod place;
mod random;
mod validate;
mod wait;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;

use guest_protocol::{GuestConfig, Signal};

pub(crate) use bare::Bare;
pub(crate) use machine::{MicroVm, OwnDisk};
pub(crate) use mounts::{become_root, early, folder, overlay, tmpfs};
pub(crate) use validate::validate;
pub(crate) use wait::wait_for;

/// What the agent runs in.
pub(crate) trait Machine: Send + Sync {
    /// Makes it a seat; what did not work although it went on is told beside it.
    fn prepare(&self, config: Arc<GuestConfig>) -> Result<(Seat, Vec<String>), String>;

    /// Sets the clock at once, in nanoseconds since 1970.
    fn set_clock(&self, unix_ns: u64) -> Result<(), String>;

    /// Ends it, after the workload has ended.
    fn power_off(&self);
}

/// A guest that is a seat.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) config: Arc<GuestConfig>,
    /// The folder of the control group of everything that runs in it.
    pub(crate) cgroup: Option<PathBuf>,
}

impl Seat {
    /// The values that are never quoted.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let secret = self.config.env.iter().filter(|variable| variable.secret);
        secret.map(|variable| variable.value.expose()).collect()
    }

    /// Ends everything that runs in it: the workload's process was this one. What it started does not outlive it, as in a container.
    pub(crate) fn end_all(&self, pid: u32) {
        match &self.cgroup {
            Some(folder) => cgroup::kill(folder),
            // Its own group at least; its number is not given away as long as the group has members.
            None => crate::run::send(pid, Signal::KILL, true).unwrap_or_default(),
        }
    }
}
