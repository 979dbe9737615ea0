//! Whom seats ask for names.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// What a host's own programs ask (resolv.conf(5)).
pub(crate) const OWN: &str = "/etc/resolv.conf";
/// Whom systemd-resolved asks, on a host whose programs ask that on 127.0.0.53 (systemd-resolved.service(8)).
pub(crate) const BEHIND: &str = "/run/systemd/resolve/resolv.conf";
/// A libc asks no more than so many (`MAXNS` of resolv.conf(5)).
const MOST: usize = 3;

/// The name servers of seats: those that are configured, or else the host's.
#[derive(Clone, Debug)]
pub(crate) struct NameServers {
    configured: Vec<IpAddr>,
    root: PathBuf,
}

impl NameServers {
    /// `root` is the root folder of the host.
    pub(crate) fn new(configured: &[IpAddr], root: impl Into<PathBuf>) -> Self {
        Self { configured: configured.to_vec(), root: root.into() }
    }

    /// Those that seats are told of now, in the order in which they ask them.
    pub(crate) fn now(&self) -> Vec<IpAddr> {
        if self.configured.is_empty() { of_host(&self.root) } else { self.configured.clone() }
    }

    /// Those of them that a question from a seat can reach.
    pub(crate) fn within_reach(&self) -> BTreeSet<Ipv4Addr> {
        self.now().into_iter().filter_map(within_reach).collect()
    }
}

/// The host's that guests can ask as well: those of its own programs, or, where these ask the host itself alone, whom systemd-resolved asks.
pub(crate) fn of_host(root: &Path) -> Vec<IpAddr> {
    let found = [OWN, BEHIND].into_iter().map(|path| {
        let text = fs::read_to_string(root.join(path.trim_start_matches('/'))).unwrap_or_default();
        named(&text).into_iter().filter(|address| within_reach(*address).is_some()).take(MOST).collect()
    });
    found.into_iter().find(|found: &Vec<_>| !found.is_empty()).unwrap_or_default()
}

/// The name servers in the text of a `resolv.conf`.
pub(crate) fn named(text: &str) -> Vec<IpAddr> {
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.filter_map(|rest| rest.trim().parse().ok()).collect()
}

/// What a guest can ask: a guest's loopback is another one than the host's, and IPv6 of seats goes nowhere.
pub(crate) fn within_reach(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = address else { return None };
    let is_one = !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast());
    is_one.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(own: Option<&str>, behind: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [(OWN, own), (BEHIND, behind)] {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
        }
        root
    }

    fn told(own: Option<&str>, behind: Option<&str>) -> Vec<String> {
        of_host(host(own, behind).path()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_loopback_resolver_is_no_use_to_a_guest() {
        let text =
            "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n nameserver ::1\nsearch x\nnameserver\t1.1.1.1";
        assert_eq!(told(Some(text), Some("nameserver 9.9.9.9")), ["10.0.0.2", "1.1.1.1"]);
        let many = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4";
        assert_eq!(told(Some(many), None), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    #[test]
    fn behind_a_stub_is_whom_systemd_resolved_asks() {
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
        let behind =
            "nameserver 169.254.169.253\nnameserver fe80::1%2\nnameserver 2001:db8::1\nsearch ec2.internal\n";
        assert_eq!(told(Some(stub), Some(behind)), ["169.254.169.253"]);
        // Without any, programs ask their own host (resolv.conf(5)).
        for own in [None, Some(""), Some("nameserver ::1\nnameserver 0.0.0.0")] {
            assert_eq!(told(own, Some(behind)), ["169.254.169.253"], "{own:?}");
        }
        assert_eq!(told(Some(stub), None), [] as [&str; 0]);
        assert_eq!(told(Some(stub), Some(stub)), [] as [&str; 0]);
    }

    #[test]
    fn the_filter_lets_through_whom_seats_are_told_of_and_nobody_else() {
        let root = host(Some("nameserver 10.0.0.2"), Some("nameserver 9.9.9.9"));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let configured = ["192.0.2.53", "2001:db8::53", "127.0.0.1", "10.214.0.1"].map(address);
        let servers = NameServers::new(&configured, root.path());
        assert_eq!(servers.now(), configured);
        assert_eq!(
            servers.within_reach(),
            ["10.214.0.1", "192.0.2.53"].map(|text| text.parse().unwrap()).into()
        );

        let servers = NameServers::new(&[], root.path());
        assert_eq!(servers.now(), [address("10.0.0.2")]);
        assert_eq!(servers.within_reach(), ["10.0.0.2".parse().unwrap()].into());
        // The host moves to another network.
        fs::write(root.path().join("etc/resolv.conf"), "nameserver 172.16.0.1\n").unwrap();
        assert_eq!(servers.now(), [address("172.16.0.1")]);
        assert_eq!(servers.within_reach(), ["172.16.0.1".parse().unwrap()].into());
    }
}
