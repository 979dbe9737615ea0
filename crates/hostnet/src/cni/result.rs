//! What plugins answer to ADD (section 5 of the specification).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An answer: as it came, for CHECK, DEL and the next plugin, and what is understood of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AddResult {
    raw: Value,
    parts: Parts,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidResult(String);

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Parts {
    #[serde(default, deserialize_with = "or_default")]
    interfaces: Vec<InterfaceResult>,
    #[serde(default, deserialize_with = "or_default")]
    ips: Vec<Ip>,
    #[serde(default, deserialize_with = "or_default")]
    routes: Vec<RouteResult>,
    #[serde(default, deserialize_with = "or_default")]
    dns: Dns,
}

/// An interface that a plugin made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InterfaceResult {
    /// What it is called.
    pub name: String,
    /// The network namespace that it is in; empty for one of the host's.
    #[serde(default)]
    pub sandbox: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ip {
    /// With the size of its subnet.
    pub address: IpNet,
    /// The way out of it.
    #[serde(default, deserialize_with = "or_none")]
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RouteResult {
    /// Where to.
    pub dst: IpNet,
    /// Over whom; the gateway of the address where there is none.
    #[serde(default, deserialize_with = "or_none")]
    pub gw: Option<IpAddr>,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Dns {
    /// Whom to ask, the best first.
    #[serde(default, deserialize_with = "or_default")]
    pub nameservers: Vec<IpAddr>,
    /// The local domain.
    #[serde(default)]
    pub domain: String,
    /// Domains for short names, the best first.
    #[serde(default, deserialize_with = "or_default")]
    pub search: Vec<String>,
    /// Options of the resolver (resolv.conf(5)).
    #[serde(default, deserialize_with = "or_default")]
    pub options: Vec<String>,
}

/// What a guest is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestAddress {
    /// Its address and the size of its subnet.
    pub address: Ipv4Net,
    /// Its way out; none when the network has no default route.
    pub gateway: Option<Ipv4Addr>,
    /// Routes beside the default one, which guests are not given.
    pub other_routes: usize,
    /// How it resolves names.
    pub dns: Dns,
}

impl AddResult {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it is no answer of this form.
    pub fn parse(output: &[u8]) -> Result<Self, InvalidResult> {
        let raw =
            serde_json::from_slice(output).map_err(|why| InvalidResult(format!("it is not JSON: {why}")))?;
        Self::from_value(raw)
    }

    pub(super) fn from_value(raw: Value) -> Result<Self, InvalidResult> {
        if !raw.is_object() {
            return Err(InvalidResult("it is not a JSON object".into()));
        }
        let parts = Parts::deserialize(&raw).map_err(|why| InvalidResult(why.to_string()))?;
        Ok(Self { raw, parts })
    }

    /// As it came.
    pub(super) fn raw(&self) -> &Value {
        &self.raw
    }

    /// The interfaces that were made.
    #[must_use]
    pub fn interfaces(&self) -> &[InterfaceResult] {
        &self.parts.interfaces
    }

    /// What the guest behind an interface is told: its first IPv4 address, since guests have no IPv6.
    ///
    /// # Errors
    /// When it has none.
    pub fn guest(&self, interface: &str) -> Result<GuestAddress, InvalidResult> {
        let Parts { interfaces, ips, routes, dns } = &self.parts;
        let is_its = |ip: &Ip| match ip.interface {
            None => true,
            Some(number) => interfaces
                .get(number)
                .is_some_and(|found| found.name == interface && !found.sandbox.is_empty()),
        };
        let v4 = ips.iter().filter(|ip| is_its(ip)).find_map(|ip| match ip.address {
            IpNet::V4(address) => Some((address, ip.gateway)),
            IpNet::V6(_) => None,
        });
        let (address, gateway) = v4.ok_or_else(|| {
            InvalidResult(format!(
                "it gives {interface} no IPv4 address, and guests have no other; see the ipam of the network"
            ))
        })?;
        if !(1..=30).contains(&address.prefix_len())
            || address.addr().is_loopback()
            || address.addr().is_multicast()
        {
            return Err(InvalidResult(format!(
                "{address} is no address for a guest, which needs a subnet of /1 to /30"
            )));
        }
        let only_v4 = |address: IpAddr| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        let default =
            routes.iter().find(|route| matches!(route.dst, IpNet::V4(dst) if dst.prefix_len() == 0));
        let gateway = default.and_then(|route| route.gw.or(gateway)).and_then(only_v4);
        if let Some(gateway) = gateway.filter(|gateway| !address.contains(gateway)) {
            return Err(InvalidResult(format!("the gateway {gateway} is not in the subnet of {address}")));
        }
        let other_routes =
            routes.iter().filter(|route| matches!(route.dst, IpNet::V4(dst) if dst.prefix_len() > 0)).count();
        Ok(GuestAddress { address, gateway, other_routes, dns: dns.clone() })
    }
}

/// `null` is as good as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Some write an empty text for no address.
fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(from)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "cni0", "mac": "00:11:22:33:44:55"},
                {"name": "veth3243", "mac": "55:44:33:22:11:11"},
                {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/run/netns/blue"}
            ],
            "ips": [
                {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 2},
                {"address": "10.9.0.1/16", "interface": 0},
                {"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}
            ],
            "routes": [{"dst": "::/0"}, {"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.0.9"}],
            "dns": {"nameservers": ["10.1.0.1"], "search": ["example.test"]}
        })
    }

    fn guest(answer: &Value) -> Result<GuestAddress, String> {
        let answer = AddResult::parse(answer.to_string().as_bytes()).map_err(|why| why.to_string())?;
        answer.guest("eth0").map_err(|why| why.to_string())
    }

    #[test]
    fn the_address_of_the_guest_is_found() {
        let guest = guest(&answer()).unwrap();
        assert_eq!(guest.address, "10.1.0.5/16".parse().unwrap());
        assert_eq!(guest.gateway, Some(Ipv4Addr::new(10, 1, 0, 1)));
        assert_eq!(guest.other_routes, 1);
        assert_eq!(guest.dns.nameservers, ["10.1.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(guest.dns.search, ["example.test"]);
    }

    #[test]
    fn a_default_route_says_the_gateway() {
        let mut value = answer();
        value["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.77"}]);
        assert_eq!(guest(&value).unwrap().gateway, Some(Ipv4Addr::new(10, 1, 0, 77)));
        value["routes"] = json!(null);
        assert_eq!(guest(&value).unwrap().gateway, None);
        value["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.99.0.1"}]);
        assert!(guest(&value).unwrap_err().contains("not in the subnet"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let mut value = answer();
        value["ips"] = json!([{"address": "fd00::5/64", "interface": 2}]);
        assert!(guest(&value).unwrap_err().contains("no IPv4 address"));
        // One of the host's interfaces, and one that there is not.
        for number in [0, 7] {
            value["ips"] = json!([{"address": "10.1.0.5/16", "interface": number}]);
            assert!(guest(&value).unwrap_err().contains("no IPv4 address"));
        }
        for address in ["127.0.0.1/8", "10.1.0.5/32", "224.0.0.1/4"] {
            value["ips"] = json!([{"address": address}]);
            assert!(guest(&value).unwrap_err().contains("no address for a guest"), "{address}");
        }
        assert!(guest(&json!([])).unwrap_err().contains("no JSON object") || guest(&json!([])).is_err());
        assert!(guest(&json!({"ips": [{"address": "10.1.0.5"}]})).is_err());
        assert!(guest(&json!({})).unwrap_err().contains("no IPv4 address"));
        assert!(AddResult::parse(b"").unwrap_err().to_string().starts_with("it is not JSON"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\PC{0,200}") {
            if let Ok(answer) = AddResult::parse(text.as_bytes()) {
                drop(answer.guest("eth0"));
            }
        }
    }
}
