//! The network of bare guests: one TAP device, which they have one after the other.

use std::net::Ipv4Addr;

use anyhow::Result;
use guest_protocol::{Mac, Network};
use tokio::process::Command;

use crate::child::output;

pub(super) const TAP: &str = "bare0";
/// Of the guest.
pub(super) const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 0]);
/// Addresses that nobody has (RFC 5737), so no pool of a service has them.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PREFIX: u8 = 30;

/// Makes the device; it goes with the network namespace.
pub(in crate::bench::microvm) async fn make() -> Result<()> {
    for arguments in commands() {
        output(Command::new("ip").args(arguments.split(' '))).await?;
    }
    Ok(())
}

/// What `ip` is told. The guest's hardware address is known to the host before it is there, as a seat's is: nobody waits for an answer to ARP.
fn commands() -> [String; 4] {
    [
        format!("tuntap add dev {TAP} mode tap"),
        format!("address add {HOST}/{PREFIX} dev {TAP}"),
        format!("link set {TAP} up"),
        format!("neighbour add {GUEST} lladdr {MAC} dev {TAP} nud permanent"),
    ]
}

/// What the guest is told of it.
pub(super) fn of_guest() -> Network {
    Network { mac: MAC, address: GUEST, prefix: PREFIX, gateway: Some(HOST), mtu: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_and_host_are_in_one_subnet() {
        let Network { address, prefix, gateway, .. } = of_guest();
        let subnet = |address: Ipv4Addr| address.to_bits() >> (32 - prefix);
        let gateway = gateway.unwrap();
        assert_ne!(address, gateway);
        assert_eq!(subnet(address), subnet(gateway));
        let commands = commands();
        assert!(commands[1].contains(&format!("{gateway}/{prefix} ")), "{commands:?}");
        assert!(commands[3].contains("192.0.2.2 lladdr 02:00:00:00:00:00 "), "{commands:?}");
    }
}
