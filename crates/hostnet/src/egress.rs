//! What seats may reach outside.

use ipnet::Ipv4Net;

/// What seats may reach beyond the host. The lists of both kinds are for IPv4; IPv6 of seats goes nowhere at all.
///
/// For a connection that a seat opens, the first that fits decides:
/// 1. to port 53 (TCP or UDP) of a name server that seats are told of: allowed, also on this host and in link-local ranges;
/// 2. to this host, another seat or workshop, another bridge of this host (Docker's networks), link-local addresses with the
///    cloud's metadata service, or by broadcast or multicast: dropped, always;
/// 3. to an address in `allow`: allowed;
/// 4. to an address in `deny`: dropped;
/// 5. `otherwise`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// What becomes of addresses on no list.
    pub otherwise: Otherwise,
    /// Ranges that may be reached: exceptions from `deny`, or all there is under [`Otherwise::Deny`].
    pub allow: Vec<Ipv4Net>,
    /// Ranges that may not be reached.
    pub deny: Vec<Ipv4Net>,
}

/// What becomes of addresses on no list of an [`EgressPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// Seats reach the internet.
    #[default]
    Allow,
    /// Seats reach nothing but what is listed.
    Deny,
}
