//! The guest's interface.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An interface and its address. It is found by its hardware address, since names depend on the order of drivers; the only interface of a machine is given it
/// when it has another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Network {
    /// The hardware address by which the interface is found, or that it gets.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// How many bits of the address are the network's.
    #[cfg_attr(test, schemars(range(max = 32)))]
    pub prefix: u8,
    /// Where everything else is sent to; nothing goes further when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The largest packet in bytes; the driver's when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A hardware address, as `02:c7:0a:00:00:05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct Mac([u8; 6]);

impl Mac {
    /// Of its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address: six bytes are meant, as 02:c7:0a:00:00:05")]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.chars().take(40).collect());
        let mut parts = text.trim().split(':');
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let mac: Mac = "02:C7:0a:00:00:05\n".parse().unwrap();
        assert_eq!((mac.bytes(), mac.to_string().as_str()), ([2, 0xc7, 10, 0, 0, 5], "02:c7:0a:00:00:05"));
        for bad in ["", "02:c7:0a:00:00", "02:c7:0a:00:00:05:06", "02:c7:0a:00:00:5", "02:c7:0a:00:00:xx"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
