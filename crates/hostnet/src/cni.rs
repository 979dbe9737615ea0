//! Networks that an operator has configured for the Container Network Interface, in place of our own bridges.
//!
//! The interface is specified in `SPEC.md` of containernetworking/cni, versions 0.3.0 to 1.1.0. A network is a list of plugins, which are
//! programs; the runtime, that is us, runs them one after another for each container, that is seat, and takes what the last one answers.
//!
//! ```text
//!   /etc/cni/net.d/*.conflist ── list ──┐
//!   /usr/lib/cni/{bridge,…} ────────────┼─► runner ── ADD, CHECK, DEL ──► plugins ──► result (address, gateway, name servers)
//!   {state}/microvm/cni/{seat}.json ────┘   (cache)
//!
//!   network namespace of the seat                              host
//!   ┌───────────────────────────────────────────────┐
//!   │ VMM ── TAP ◄── tc redirect, both ways ──► eth0 ├── whatever the plugins made: a veth on a bridge, a macvlan …
//!   └───────────────────────────────────────────────┘
//! ```
//!
//! The plugins know network namespaces and interfaces in them, not virtual machines. So each seat has a namespace, in which the plugins make
//! `eth0` as for any container; a TAP device beside it takes every frame of `eth0`, and gives it every frame of the guest (tc-mirred(8)).
//! The guest has the hardware address and the IP address of `eth0`, so whatever the plugins make outside sees the container that it knows.
//!
//! What is done for a seat is written down before it is done ([`cache`]) and forgotten after it is undone:
//!
//! ```text
//!   (nothing) ── entry ── namespace ── ADD … ADD ── result into the entry ── TAP, tc ──► attached
//!       ▲                                │ fails, or we are killed                         │
//!       └── entry removed ── namespace removed ── DEL … DEL, in reverse order ◄────────────┘
//! ```
//!
//! So DEL is run for whatever ADD was begun, with the configuration and the result of then, also by the next service. The plugins of one seat
//! never run side by side, not even those of a service that was killed: they hold a lock as long as they live.
//!
//! The verb GC is not used: it takes everything from a network that the asking runtime does not name, and an operator's network may have
//! containers of other runtimes. What belongs to no seat any more is found in the cache, and gets its DEL.

mod cache;
mod doctor;
mod error;
mod exec;
mod list;
mod netns;
mod result;
mod runner;
mod splice;
mod steps;
mod version;

pub use error::{CniError, PluginFailure};
pub use list::{InvalidList, NetworkList, NetworkName, PluginName};
pub use result::{AddResult, Dns, GuestAddress, InterfaceResult, InvalidResult, Ip, RouteResult};
pub use runner::{Attached, Cni, CniOptions, Network};
pub use version::SpecVersion;
