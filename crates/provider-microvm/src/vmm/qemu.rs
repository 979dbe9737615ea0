//! QEMU's `microvm` machine as a monitor (docs/system/i386/microvm.rst of QEMU).
//!
//! ```text
//!   starts stopped (-S)  →  QMP greeting  →  throttles  →  cont  →  RESUME  →  confirmed to the keeper
//! ```
//!
//! The guest has virtio-mmio devices and nothing else: drives found by their serial, an interface found by its MAC, a serial port named
//! `clarateach.agent` for the agent, entropy, and the serial console. QEMU runs as the seat's user, in its own system-call sandbox, with all files,
//! sockets and the TAP handed over open. Nothing secret is on its command line.

mod arguments;
mod binary;
mod control;
mod monitor;
mod qmp;

pub use arguments::AGENT_PORT;
pub use binary::Version;
pub use monitor::{Qemu, QemuOptions};
pub use qmp::{Event, Migration, Qmp, QmpError, RunState};

pub(super) use arguments::{AGENT, drive_id};
pub(super) use control::Control;
