//! Settings of the kernel for one interface, below `/proc/sys/net` of the network namespace of this process.

use std::io;
use std::path::Path;

use crate::error::NetError;
use crate::names::IfName;

/// What a bridge is set to, and why. Documentation/networking/ip-sysctl.rst of the kernel has them all.
const BRIDGE: [(&str, &str); 8] = [
    // Packets of seats are routed. The uplink needs it too, for answers: `net.ipv4.ip_forward` gives it.
    ("forwarding", "1"),
    // What comes from an address that is not behind this bridge is dropped, with or without the packet filter.
    ("rp_filter", "1"),
    // 127.0.0.0/8 of the host is not reached from seats by any rewriting.
    ("route_localnet", "0"),
    // No seat changes the routes of the host, and the host tells none of a shorter way, which would lead to another seat.
    ("accept_redirects", "0"),
    ("send_redirects", "0"),
    ("accept_source_route", "0"),
    // The host answers for the gateway's address alone, not for its other addresses or for seats.
    ("arp_ignore", "1"),
    ("proxy_arp", "0"),
];

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Sets a bridge up.
pub(crate) fn bridge(name: &IfName) -> Result<(), NetError> {
    for (key, value) in BRIDGE {
        write(format!("/proc/sys/net/ipv4/conf/{name}/{key}"), value)?;
    }
    no_ipv6(name)
}

/// Takes IPv6 from an interface; the kernel may have none.
pub(crate) fn no_ipv6(name: &IfName) -> Result<(), NetError> {
    match write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        Err(NetError::Kernel { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether the host passes packets on between its interfaces.
pub(crate) fn forwards() -> io::Result<bool> {
    Ok(std::fs::read_to_string(FORWARD)?.trim() != "0")
}

/// Makes the host pass packets on, which is a setting of the whole host. Where it does already nothing is written: writing
/// it sets other settings of all interfaces back.
pub(crate) fn forward() -> Result<(), NetError> {
    let on = forwards().map_err(|source| NetError::kernel(format!("reading {FORWARD}"), source))?;
    if on {
        return Ok(());
    }
    write(FORWARD, "1")?;
    tracing::info!("net.ipv4.ip_forward is on now: seats reach the outside through this host");
    Ok(())
}

fn write(path: impl AsRef<Path>, value: &str) -> Result<(), NetError> {
    let path = path.as_ref();
    std::fs::write(path, value)
        .map_err(|source| NetError::kernel(format!("writing {value} to {}", path.display()), source))
}
