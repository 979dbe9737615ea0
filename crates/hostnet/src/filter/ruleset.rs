//! The text of our tables for `nft`; what it means stands at the top of the folder.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::element::Set;
use crate::egress::{EgressPolicy, Otherwise};
use crate::names::{IfName, InstanceId};

/// Makes both tables or brings them up to date, as one transaction; elements of sets stay.
///
/// `resolvers` are the name servers that seats are told of, and `uplinks` the bridges over which the host itself reaches the world. Without
/// `limits` the kernel needs nothing for them, and those that are there are in force no longer.
pub(crate) fn text(
    instance: &InstanceId,
    egress: &EgressPolicy,
    resolvers: &BTreeSet<Ipv4Addr>,
    uplinks: &[IfName],
    limits: bool,
) -> String {
    let table = instance.table();
    let mut text = String::new();
    for family in ["bridge", "inet"] {
        line(&mut text, format_args!("add table {family} {table}"));
    }
    for set in Set::ALL.into_iter().filter(|set| limits || *set != Set::Limited) {
        let family = if set.is_of_bridge() { "bridge" } else { "inet" };
        let with = if set == Set::Limited { LIMITED } else { "" };
        let (name, kind) = (set.name(), set.kind());
        line(&mut text, format_args!("add set {family} {table} {name} {{ type {kind};{with} }}"));
    }
    for (family, chains) in [("bridge", bridge(limits)), ("inet", inet(egress, resolvers, uplinks))] {
        // All chains before the first rule: rules jump.
        for Chain { name, hook, .. } in &chains {
            line(&mut text, format_args!("add chain {family} {table} {name} {hook}"));
            line(&mut text, format_args!("flush chain {family} {table} {name}"));
        }
        for Chain { name, rules, .. } in &chains {
            for rule in rules {
                line(&mut text, format_args!("add rule {family} {table} {name} {rule}"));
            }
        }
    }
    text
}

struct Chain {
    name: &'static str,
    hook: &'static str,
    rules: Vec<String>,
}

impl Chain {
    fn new(name: &'static str, hook: &'static str, rules: &[&str]) -> Self {
        Self { name, hook, rules: rules.iter().map(|&rule| rule.to_owned()).collect() }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _cannot_fail = writeln!(text, "{line}");
}

/// What each element of the set carries, with a limit of its own; this one is only there because `nft` wants one of the set as well.
const LIMITED: &str = " limit rate over 1 bytes/second;";

fn bridge(limits: bool) -> Vec<Chain> {
    // First of all: what is too much costs no more than this.
    let limited = limits.then_some("iifname @limited counter drop");
    let from_guests: Vec<_> = limited.into_iter().chain(["iifname @taps jump from_guest"]).collect();
    vec![
        // Before br_netfilter (priority 0) hands frames to the filters of other families.
        Chain::new(
            "prerouting",
            "{ type filter hook prerouting priority -300; policy accept; }",
            &from_guests,
        ),
        Chain::new(
            "forward",
            "{ type filter hook forward priority -300; policy accept; }",
            &["iifname @taps counter drop", "oifname @taps counter drop"],
        ),
        // Ports are not flooded with what other ports send; with what the host itself sends to all they would be.
        Chain::new(
            "output",
            "{ type filter hook output priority -300; policy accept; }",
            &["oifname @taps ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop"],
        ),
        Chain::new(
            "from_guest",
            "",
            &[
                "ether type ip iifname . ether saddr . ip saddr @seats accept",
                // Sender's addresses inside and outside. A guest asks for the gateway and answers for itself, no more.
                "ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . ether saddr . arp saddr ip @seats iifname . \
                 arp saddr ether . arp saddr ip @seats accept",
                "counter drop",
            ],
        ),
    ]
}

/// What belongs to a connection that is known, and the errors about it.
const ANSWERS: [&str; 2] = ["ct state established accept", "ct state related meta l4proto icmp accept"];

fn inet(egress: &EgressPolicy, resolvers: &BTreeSet<Ipv4Addr>, uplinks: &[IfName]) -> Vec<Chain> {
    let resolvers = one_of("ip daddr", resolvers, "meta l4proto { tcp, udp } th dport 53 accept");
    let mut from_seat = Chain::new(
        "from_seat",
        "",
        &["meta nfproto != ipv4 counter drop", "iifname . ip saddr != @seats counter drop"],
    );
    from_seat.rules.extend(ANSWERS.map(str::to_owned));
    from_seat.rules.extend(resolvers.clone());
    from_seat.rules.push("ip daddr 169.254.0.0/16 counter drop".to_owned());
    // This host, broadcast, multicast: unless it is routed on, it goes nowhere.
    from_seat.rules.push("fib daddr type != unicast counter drop".to_owned());

    let mut outward = Chain::new("outward", "", &ANSWERS);
    outward.rules.extend(resolvers.clone());
    outward.rules.push("oifname @bridges counter drop".to_owned());
    let uplinks = uplinks.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let but_uplinks = if uplinks.is_empty() { String::new() } else { format!("oifname != {{ {uplinks} }} ") };
    outward.rules.push(format!("{but_uplinks}meta oifkind \"bridge\" counter drop"));
    outward.rules.extend(one_of("ip daddr", Ipv4Net::aggregate(&egress.allow), "accept"));
    outward.rules.extend(one_of("ip daddr", Ipv4Net::aggregate(&egress.deny), "counter drop"));
    if egress.otherwise == Otherwise::Deny {
        outward.rules.push("counter drop".to_owned());
    }

    let mut inward = Chain::new("inward", "", &ANSWERS);
    inward.rules.push("counter drop".to_owned());
    let mut to_host = Chain::new("to_host", "", &ANSWERS);
    to_host.rules.extend(resolvers);
    to_host.rules.push("counter drop".to_owned());

    vec![
        // After connection tracking (-200), before any rewriting of destinations (-100).
        Chain::new(
            "prerouting",
            "{ type filter hook prerouting priority -150; policy accept; }",
            &["iifname @bridges jump from_seat"],
        ),
        // Before the filters of other programs (0); a drop is final wherever it happens.
        Chain::new(
            "input",
            "{ type filter hook input priority -10; policy accept; }",
            &["iifname @bridges jump to_host"],
        ),
        Chain::new(
            "forward",
            "{ type filter hook forward priority -10; policy accept; }",
            &["iifname @bridges jump outward", "oifname @bridges jump inward"],
        ),
        Chain::new(
            "postrouting",
            "{ type nat hook postrouting priority 100; policy accept; }",
            &["ip saddr @addresses oifname != @bridges masquerade"],
        ),
        from_seat,
        outward,
        inward,
        to_host,
    ]
}

/// A rule for a list, which is none for an empty one.
fn one_of<T: ToString>(what: &str, list: impl IntoIterator<Item = T>, then: &str) -> Option<String> {
    let list = list.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| format!("{what} {{ {list} }} {then}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(egress: &EgressPolicy, resolvers: &[&str], uplinks: &[&str]) -> String {
        let resolvers = resolvers.iter().map(|address| address.parse().unwrap()).collect();
        let uplinks: Vec<_> = uplinks.iter().map(|name| name.parse().unwrap()).collect();
        text(&"0123456789abcdef".parse().unwrap(), egress, &resolvers, &uplinks, true)
    }

    #[test]
    fn only_our_own_tables_are_named() {
        let text = text_of(&EgressPolicy::default(), &[], &[]);
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            assert!(words[0] == "add" || words[..2] == ["flush", "chain"], "{line}");
            assert_eq!(words[3], "clarateach_0123456789abcdef", "{line}");
        }
    }

    #[test]
    fn without_limits_nothing_is_said_of_them() {
        let of = |limits| {
            let (instance, nobody) = ("0123456789abcdef".parse().unwrap(), BTreeSet::new());
            text(&instance, &EgressPolicy::default(), &nobody, &[], limits)
        };
        assert!(!of(false).contains("limit"));
        let with = of(true);
        let more = with.lines().filter(|line| !of(false).lines().any(|other| other == *line));
        let table = "bridge clarateach_0123456789abcdef";
        assert_eq!(
            more.collect::<Vec<_>>(),
            [
                format!("add set {table} limited {{ type ifname; limit rate over 1 bytes/second; }}"),
                format!("add rule {table} prerouting iifname @limited counter drop"),
            ]
        );
        let rules: Vec<_> = with.lines().filter(|line| line.contains("add rule bridge")).collect();
        assert!(rules[0].ends_with("@limited counter drop"), "{rules:?}");
    }

    #[test]
    fn lists_are_merged_and_in_order() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let policy = EgressPolicy {
            otherwise: Otherwise::Deny,
            allow: vec![net("10.1.0.0/24"), net("10.1.1.0/24"), net("10.1.1.7/32")],
            deny: vec![net("10.0.0.0/8")],
        };
        let text = text_of(&policy, &["9.9.9.9", "169.254.169.253"], &["br0"]);
        let rules: Vec<_> = text.lines().filter(|line| line.contains(" outward ")).collect();
        let ends = [
            "outward ct state established accept",
            "icmp accept",
            "ip daddr { 9.9.9.9, 169.254.169.253 } meta l4proto { tcp, udp } th dport 53 accept",
            "oifname @bridges counter drop",
            "oifname != { \"br0\" } meta oifkind \"bridge\" counter drop",
            "ip daddr { 10.1.0.0/23 } accept",
            "ip daddr { 10.0.0.0/8 } counter drop",
            "outward counter drop",
        ];
        let rules = &rules[rules.len() - ends.len()..];
        for (rule, end) in rules.iter().zip(ends) {
            assert!(rule.ends_with(end), "{rule}\n{end}");
        }
    }
}
