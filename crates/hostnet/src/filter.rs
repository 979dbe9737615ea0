//! The packet filter of seats: two nftables tables of our own, and the sets that say which seats there are.
//!
//! ```text
//!    guest ──TAP──► bridge table, prerouting          no more than its limit; only ARP and IPv4, only with the MAC and the address of this TAP
//!                     │                            what the host sends to all at once goes to no guest
//!                     ▼  to the gateway's MAC          between two ports: dropped (and the ports are isolated)
//!                   inet table
//!                     ├─ prerouting   the address belongs to this bridge; nothing to the host itself, to link-local
//!                     │               addresses, to many at once; before any other program rewrites a destination
//!                     ├─ input        nothing but answers, and name servers
//!                     ├─ forward      answers; no other bridge of the host; then the operator's lists
//!                     └─ postrouting  masquerade
//!    anything else ─► forward ─► seat                  only answers; the host itself opens connections to seats freely
//! ```
//!
//! The rules are put there once, by one `nft -f -`, which is one transaction, and again whenever they may have been flushed. They hold
//! nothing of a seat: what a rule needs of one it looks up in a set, and a seat comes and goes by one netlink batch that changes
//! elements, without a process and without a rule of its own. Making the rules anew leaves the elements as they are.
//!
//! | set (table)       | element               | what for                                              |
//! |-------------------|-----------------------|-------------------------------------------------------|
//! | `taps` (bridge)   | TAP                   | whose frames are looked at                            |
//! | `seats` (bridge)  | TAP, MAC, address     | what may come from it                                 |
//! | `bridges` (inet)  | bridge                | whose packets are looked at                           |
//! | `seats` (inet)    | bridge, address       | what may come from it, with or without a bridge table |
//! | `addresses` (inet)| address               | what is masqueraded                                   |
//! | `limited` (bridge)| TAP, with its limit   | how much may come from it; only where that is limited |

pub mod element;
pub(crate) mod ruleset;

#[cfg(target_os = "linux")]
pub(crate) mod batch;
#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
pub(crate) mod nft;
#[cfg(target_os = "linux")]
pub(crate) mod rules;
