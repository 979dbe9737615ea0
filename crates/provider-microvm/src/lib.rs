//! Seats as microVMs.
//!
//! Records on the host's disk are the only state ([`records`]). The kernel's objects are theirs: what no record names is
//! removed, and what a record names is finished or undone when a service starts ([`recover`]).
//!
//! ```text
//!   provider ─┬─ create ──┐                                  ┌─ network    bridge, TAP, packet filter (hostnet)
//!             ├─ destroy ─┼─ records, ledger, disks, images  ├─ machines   VMs (vmm)
//!             ├─ settle ──┤  golden ───┤                     │     └─ guest  the agent's link (guest-protocol)
//!             ├─ view ────┘            └──────── edges ──────┴─ host       memory, free space, ports, kernel (guest-boot)
//!             ├─ recover
//!             └─ guard
//! ```

#![cfg(target_os = "linux")]

mod clocks;
mod config;
mod console;
mod core;
mod create;
mod destroy;
mod disks;
mod doctor;
mod edges;
mod fail;
mod golden;
mod guard;
mod images;
mod join;
mod ledger;
mod link;
mod live;
mod locks;
mod names;
mod nameservers;
mod pace;
mod payload;
mod provider;
mod random;
mod records;
mod recover;
mod settle;
mod starts;
mod state;
mod tell;
#[cfg(test)]
mod tests;
mod view;
pub mod vmm;

pub use config::{CniConfig, ConfigError, ImageConfig, MicrovmConfig, SnapshotUse};
pub use doctor::doctor;
pub use images::{EngineConnect, ImageNames};
pub use provider::{MicrovmProvider, StartError};
pub use starts::{Starts, Way};
pub use state::StateError;
