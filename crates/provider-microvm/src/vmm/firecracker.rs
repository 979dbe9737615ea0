//! Firecracker as a monitor, and a thin, typed client of its API (`src/firecracker/swagger/firecracker.yaml` of Firecracker).
//!
//! ```text
//!                      configure              start               pause
//!   Unconfigured ───────────────► Configured ───────► Running ◄──────────► Paused ── create_snapshot
//!        │                                               ▲       resume       ▲
//!        └───────────── load_and_resume ─────────────────┴──────── load ──────┘
//! ```
//!
//! A [`Machine`] has its state in its type, so that what Firecracker refuses for its order cannot be written: a snapshot is loaded by a fresh
//! process only, and created while the machine is paused; devices are added before the start and changed after it; there is one start a
//! process. What goes wrong with a step that changes the state leaves a state that is not known: [`Attached::attach`] asks for it. A process whose
//! start or load failed is spent, and to be ended.
//!
//! Firecracker opens files by their paths when it is told of them, in its own root folder and as its own user. Its guest has virtio-mmio devices: drives
//! in the order in which they were added, an interface found by its MAC, entropy, the serial console, and a vsock device through which the host reaches
//! the agent on [`VSOCK_PORT`](guest_protocol::VSOCK_PORT). Which drive is which, and that there is a vsock, is said on the kernel's command
//! line, by [`BootWords`](guest_protocol::BootWords).

mod api;
mod binary;
mod control;
mod error;
mod machine;
mod metrics;
mod monitor;
mod settings;
mod version;
mod vsock;

pub use api::{Api, InstanceState, Limits};
pub use error::{FirecrackerError, Trouble};
pub use machine::{Attached, Configured, Machine, Paused, Running, Started, Unconfigured, Unstarted};
pub use monitor::{Firecracker, FirecrackerOptions, Jailer};
pub use settings::{
    Balloon, BalloonStats, BootSource, CacheType, DeviceId, Drive, DrivePatch, Entropy, HugePages, IoEngine,
    LogLevel, Logger, MachineConfig, MemoryBackend, Metrics, NetworkInterface, NetworkOverride, NetworkPatch,
    RateLimiter, Serial, SettingError, SnapshotFiles, SnapshotLoad, SnapshotType, TokenBucket, Vsock,
};
pub use version::Version;

pub(crate) use binary::check_kernel;
pub(super) use control::{api, pause, press_power, resume, set_throttle};
pub(super) use metrics::Reading;
pub(crate) use metrics::measurements;
pub(super) use vsock::connect;
