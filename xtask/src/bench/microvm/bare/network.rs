//! The network of bare guests: a TAP device for each of those that there are at a time. The first one's guest can be reached.

use std::net::Ipv4Addr;

use anyhow::Result;
use guest_protocol::{Mac, Network};
use tokio::process::Command;

use crate::child::output;

/// Of the guest.
pub(super) const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 0]);
/// Addresses that nobody has (RFC 5737), so no pool of a service has them.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PREFIX: u8 = 30;

/// The device of a guest by its number, from nothing on.
pub(super) fn tap(number: u16) -> String {
    format!("bare{number}")
}

/// Makes the first device; it goes with the network namespace.
pub(in crate::bench::microvm) async fn make() -> Result<()> {
    for arguments in commands() {
        output(Command::new("ip").args(arguments.split(' '))).await?;
    }
    Ok(())
}

/// What `ip` is told. The guest's hardware address is known to the host before it is there, as a seat's is: nobody waits for an answer to ARP.
fn commands() -> [String; 4] {
    let tap = tap(0);
    [
        format!("tuntap add dev {tap} mode tap"),
        format!("address add {HOST}/{PREFIX} dev {tap}"),
        format!("link set {tap} up"),
        format!("neighbour add {GUEST} lladdr {MAC} dev {tap} nud permanent"),
    ]
}

/// Makes those of so many guests that are not there. Nobody reaches those.
pub(super) async fn up_to(guests: u16) -> Result<()> {
    for tap in (0..guests).map(tap) {
        // Not by /sys, which shows the interfaces of whoever mounted it.
        if Command::new("ip").args(["link", "show", "dev", &tap]).output().await?.status.success() {
            continue;
        }
        output(Command::new("ip").args(["tuntap", "add", "dev", &tap, "mode", "tap"])).await?;
        output(Command::new("ip").args(["link", "set", &tap, "up"])).await?;
    }
    Ok(())
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
