//! Virtual machine monitors: what runs one microVM.
//!
//! ```text
//!   service                         keeper (one per VM, own session)            QEMU (uid of the seat, own cgroup)
//!     │  Monitor::start(VmSpec)       │                                           │
//!     ├─ spawns, Launch on stdin ────►│ locks, opens files, sockets and the TAP,  │
//!     │                               │ makes the cgroup, starts ────────────────►│
//!     │◄───────── answer on stdout ───┤ (pids and start times)                    │
//!     ├─ QMP: greeting, throttles, cont, RESUME ─────────────────────────────────►│
//!     ├─ confirms ───────────────────►│ writes vmm.json: from here on it can be adopted
//!     │                               │ copies console and stderr to a bounded file
//!     │  (killed, restarted)          │ waits                                     │
//!     ├─ Monitor::adopt(folder)       │                                           ✗ ends
//!     │◄── pidfd ─────────────────────│ writes exit.json, removes the cgroup, ends
//! ```
//!
//! Until the service has confirmed, the keeper holds the other end of a pipe: when that closes, it kills QEMU and leaves nothing. So a
//! service that is killed at any moment, or a start that is given up, leaves either a VM that can be adopted or none at all.
//!
//! Firecracker is told everything over its API socket instead, which it makes in a folder of its own. It is started by its jailer, in a process namespace
//! whose first process is a second one of the keeper's: that is the VM then, for whoever watches or kills it. The rest is the same.
//!
//! What is in a VM's folder is told in [`folder`], how a process is told from another with the same number in [`identity`], what a
//! keeper does in [`keeper`].

pub mod accelerator;
pub mod cgroup;
mod control;
mod error;
mod exit;
pub mod firecracker;
pub mod folder;
pub mod identity;
pub(crate) mod jail;
pub mod keeper;
mod limits;
mod monitor;
mod pause;
mod program;
pub mod qemu;
pub(crate) mod snapshot;
mod spec;
mod user;
mod vm;

pub use accelerator::Accel;
pub(crate) use error::STARTED;
pub use error::{BinaryTrouble, VmmError};
pub use exit::{Exit, How};
pub use firecracker::{Firecracker, FirecrackerOptions, Jailer};
pub use folder::RunFolder;
pub use identity::{Identity, ProcessId};
pub use keeper::{Expected, KeeperCommand};
pub(crate) use limits::saved;
pub use monitor::{Monitor, MonitorKind, Snapshots};
pub use qemu::{Qemu, QemuOptions};
pub use snapshot::{Difference, DriveTraits, Savable, Snapshot, SnapshotError, Traits};
pub use spec::{
    Accelerator, CgroupSpec, Drive, InterfaceName, LogFile, MacAddress, Nic, Serial, SpecError, Throttle,
    UserIds, VmSpec,
};
pub(crate) use user::users_from;
pub use vm::Vm;
