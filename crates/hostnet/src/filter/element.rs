//! The elements of our sets, as the kernel keeps them.
//!
//! A key of several fields has each on a multiple of four bytes, filled up with zeros (`NFT_REG32_SIZE`); an interface's name takes
//! sixteen. Everything else is in the order in which it is sent.

use std::net::Ipv4Addr;

use crate::mac::Mac;
use crate::names::IfName;
use crate::net::{Port, WorkshopNet};

/// An element of one of our sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A TAP device whose frames are looked at.
    Tap(IfName),
    /// What may come from a TAP device.
    Guest(IfName, Mac, Ipv4Addr),
    /// A bridge whose packets are looked at.
    Bridge(IfName),
    /// An address that is behind a bridge.
    Seat(IfName, Ipv4Addr),
    /// An address that is masqueraded.
    Address(Ipv4Addr),
    /// A TAP device from which no more may come than the limit that its element carries.
    Limited(IfName),
}

/// The sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Taps,
    Guests,
    Bridges,
    Seats,
    Addresses,
    Limited,
}

impl Set {
    pub(crate) const ALL: [Self; 6] =
        [Self::Taps, Self::Guests, Self::Bridges, Self::Seats, Self::Addresses, Self::Limited];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Taps => "taps",
            Self::Guests | Self::Seats => "seats",
            Self::Bridges => "bridges",
            Self::Addresses => "addresses",
            Self::Limited => "limited",
        }
    }

    /// Whether it is in the table of the family bridge.
    pub(crate) fn is_of_bridge(self) -> bool {
        matches!(self, Self::Taps | Self::Guests | Self::Limited)
    }

    /// Its type, as `nft` writes it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Taps | Self::Bridges | Self::Limited => "ifname",
            Self::Guests => "ifname . ether_addr . ipv4_addr",
            Self::Seats => "ifname . ipv4_addr",
            Self::Addresses => "ipv4_addr",
        }
    }

    /// Reads a key of this set; `None` for one that cannot be of ours.
    pub(crate) fn element(self, key: &[u8]) -> Option<Element> {
        Some(match self {
            Self::Taps => Element::Tap(name(key)?),
            Self::Bridges => Element::Bridge(name(key)?),
            Self::Guests => {
                let mac: [u8; 6] = key.get(16..22)?.try_into().ok()?;
                Element::Guest(name(key)?, mac.into(), address(key.get(24..)?)?)
            }
            Self::Seats => Element::Seat(name(key)?, address(key.get(16..)?)?),
            Self::Addresses => Element::Address(address(key)?),
            Self::Limited => Element::Limited(name(key)?),
        })
    }
}

impl Element {
    pub(crate) fn set(&self) -> Set {
        match self {
            Self::Tap(_) => Set::Taps,
            Self::Guest(..) => Set::Guests,
            Self::Bridge(_) => Set::Bridges,
            Self::Seat(..) => Set::Seats,
            Self::Address(_) => Set::Addresses,
            Self::Limited(_) => Set::Limited,
        }
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Tap(name) | Self::Bridge(name) | Self::Limited(name) => name.padded().to_vec(),
            Self::Guest(tap, mac, address) => {
                [&tap.padded()[..], &mac.octets(), &[0, 0], &address.octets()].concat()
            }
            Self::Seat(bridge, address) => [&bridge.padded()[..], &address.octets()].concat(),
            Self::Address(address) => address.octets().to_vec(),
        }
    }

    /// Those of a workshop, without its seats'.
    pub(crate) fn of_workshop(net: &WorkshopNet) -> Vec<Self> {
        vec![Self::Bridge(net.bridge().clone())]
    }

    /// Those of a seat, but for its limit.
    pub(crate) fn of_port(net: &WorkshopNet, port: &Port) -> Vec<Self> {
        vec![
            Self::Tap(port.tap().clone()),
            Self::Guest(port.tap().clone(), port.mac(), port.address()),
            Self::Seat(net.bridge().clone(), port.address()),
            Self::Address(port.address()),
        ]
    }
}

fn name(key: &[u8]) -> Option<IfName> {
    let text = std::str::from_utf8(key.get(..16)?).ok()?;
    text.trim_end_matches('\0').parse().ok()
}

fn address(key: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(key).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_guest_is_laid_out_in_registers() {
        let tap = "ctt0123456789".parse().unwrap();
        let address = Ipv4Addr::new(10, 214, 0, 2);
        let key = Element::Guest(tap, Mac::of(address), address).key();
        assert_eq!(key, b"ctt0123456789\0\0\0\x02\xc7\x0a\xd6\x00\x02\0\0\x0a\xd6\x00\x02");
    }

    proptest! {
        #[test]
        fn every_element_is_read_back(name in "[a-z][a-z0-9.-]{0,14}", bits in any::<u32>()) {
            let name: IfName = name.parse().unwrap();
            let address = Ipv4Addr::from(bits);
            for element in [
                Element::Tap(name.clone()),
                Element::Guest(name.clone(), Mac::of(address), address),
                Element::Bridge(name.clone()),
                Element::Seat(name.clone(), address),
                Element::Limited(name),
                Element::Address(address),
            ] {
                prop_assert_eq!(element.set().element(&element.key()), Some(element));
            }
        }

        #[test]
        fn any_key_is_read_without_panic(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            for set in Set::ALL {
                if let Some(element) = set.element(&key) {
                    prop_assert_eq!(element.set(), set);
                }
            }
        }
    }
}
