//! What the guest agent and the host say to each other.
//!
//! ```text
//!   host                         one byte stream                      guest agent (pid 1 of the microVM)
//!   client::Agent  ── link: a preamble that finds the beginning ──▶  serves HTTP/2
//!                  ── GET  /v1/health     ─────────────────────▶  Health
//!                  ── GET  /v1/watch      ─────────────────────▶  Health on every change, one a line
//!                  ── POST /v1/configure  GuestConfig  ────────▶  Health
//!                  ── POST /v1/exec       frames ◀────────────▶  frames (exec)
//!                  ── GET  /v1/logs       ─────────────────────▶  frames (logs)
//!                  ── GET, PUT /v1/files  tar  ◀───────────────▶  tar
//!                  ── POST /v1/signal, /v1/time, /v1/stop ─────▶
//! ```
//!
//! The protocol has one number, [`GENERATION`], which the agent tells in its [`Health`]. A host meets agents of seats that were
//! started by an older version of it, so what is added must be optional: unknown fields are passed over, an unknown phase or
//! state is read as such, and what an agent does not have is an error of its own. `schema/guest-protocol.json` has every document; a
//! test fails when it drifts.

mod boot_words;
mod config;
mod exec;
pub mod frame;
mod health;
pub mod link;
mod logs;
mod network;
mod path;
mod problem;
mod query;
mod request;
mod routes;
#[cfg(test)]
mod schema;
mod secret;
mod signal;
mod text;

#[cfg(feature = "client")]
pub mod client;

pub use boot_words::{BadBootWord, BootWords};
pub use config::{
    DEFAULT_CAPABILITIES, EnvVar, GuestConfig, HostsEntry, Limits, Resolver, Restart, RestartPolicy, Run,
    Workspace,
};
pub use exec::{ExecRequest, ExecStarted, Size, input, output};
pub use health::{Exit, Health, Phase, Workload, WorkloadState};
pub use logs::LogQuery;
pub use network::{BadMac, Mac, Network};
pub use path::{BadPath, GuestPath};
pub use problem::{Problem, ProblemCode};
pub use request::{FilesQuery, Owner, SetTime, SignalRequest, StopRequest};
pub use routes::Route;
pub use secret::{Secret, SecretBytes};
pub use signal::{BadSignal, Signal};
pub use text::{LONGEST_TEXT, plain};

/// The generation of this protocol. It grows when a host could need to know whether an agent has something.
pub const GENERATION: u32 = 1;

/// The oldest generation that this host still talks to.
pub const OLDEST: u32 = 1;

/// The name of the virtio-serial port that carries the link.
pub const PORT: &str = "clarateach.agent";

/// The port of the guest's vsock device that carries the link where there is no virtio-serial: said on the kernel's command line, by [`BootWords`].
pub const VSOCK_PORT: u32 = 1024;

/// With what an agent begins, behind its name, when it ends its machine because no sleep in it ends. It is no fault of what runs there: starting the machine again helps.
pub const NO_TIMER: &str = "this machine has no timer";

/// The most bytes that a JSON document of a request may have.
pub const MAX_DOCUMENT: usize = 4 << 20;
