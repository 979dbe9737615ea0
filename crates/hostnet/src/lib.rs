//! Bridges, TAP devices, addresses and the packet filter of microVM seats.
//!
//! ```text
//!                     uplink of the host
//!                          ▲ masquerade
//!   ┌──────────────────────┴─ host ───────────────────────────────┐
//!   │  bridge of rust-101, 10.214.0.1/25    bridge of go-basics …  │
//!   │    ├── TAP ── guest 10.214.0.2          (nothing passes)     │
//!   │    ├── TAP ── guest 10.214.0.3                               │
//!   │   isolated ports: a guest reaches the bridge, and no other   │
//!   └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! - A workshop has a bridge with the first address of its subnet ([`WorkshopNet`]), a seat a persistent TAP device on it ([`Port`]).
//! - [`ipam`] chooses subnets and addresses; [`names`] says how interfaces are called and whose they are.
//! - [`filter`] keeps guests from each other, from the host and from what the operator's [`EgressPolicy`] forbids.
//! - [`Bandwidth`] is how much each seat may receive and send.
//! - [`HostNet`] makes all this so, over netlink and ioctl, without a process per seat. Everything it does can be repeated, and what
//!   it finds under a name of ours without our mark it leaves alone ([`NetError::Foreign`]).
//!
//! Frames find their way without being flooded: the host knows every guest's hardware address (a permanent neighbour), the bridge knows
//! behind which port it is (a static forwarding entry), and a guest's question for the gateway's address, a broadcast, always goes to
//! the bridge itself, which answers the asker alone. So nothing that a guest sends, and nothing that is sent to it, is seen by another.
//!
//! Where the operator has networks of the Container Network Interface, seats can be on one of those instead; then `cni` is all that is used
//! of this crate, and the filter is the operator's.
//!
//! All of it is IPv4; IPv6 is off on these interfaces and frames of it are dropped.

mod bandwidth;
pub mod egress;
mod error;
pub mod filter;
pub mod ipam;
mod mac;
pub mod names;
mod net;

#[cfg(target_os = "linux")]
pub mod cni;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod sysctl;
#[cfg(target_os = "linux")]
pub mod tap;

pub use bandwidth::{Bandwidth, BitRate, InvalidBitRate};
pub use egress::{EgressPolicy, Otherwise};
pub use error::NetError;
pub use mac::{InvalidMac, Mac};
pub use names::{IfName, InstanceId, Owner};
pub use net::{Port, WorkshopNet};

#[cfg(target_os = "linux")]
pub use host::{Found, HostNet, Options, PortState, Survey};
