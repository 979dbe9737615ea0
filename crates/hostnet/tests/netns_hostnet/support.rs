//! A host with seats and an internet, out of network namespaces.

mod guest;
mod namespace;
mod talk;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;

use hostnet::{Bandwidth, EgressPolicy, HostNet, IfName, InstanceId, Options, Port, WorkshopNet};
use seats::{SeatBound, SeatRef};

pub(crate) use guest::{Guest, Wire};
pub(crate) use namespace::{
    Namespace, isolated, isolated_with_iptables, isolated_with_mounts, isolated_with_spies,
};
pub(crate) use talk::{ask, connects, datagram, echoes, listen, ping};

/// What the host answers to, and its way out.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// A machine in the internet.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Another address of it.
pub(crate) const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// What a cloud has at this address, here at the same machine.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

pub(crate) fn instance() -> InstanceId {
    "00112233445566778899aabbccddeeff".parse().unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        instance: instance(),
        egress: EgressPolicy::default(),
        resolvers: BTreeSet::new(),
        pool: "10.214.0.0/16".parse().unwrap(),
        bandwidth: Bandwidth::default(),
    }
}

pub(crate) fn open() -> HostNet {
    HostNet::open(options()).unwrap()
}

/// A service with its tables in force.
pub(crate) async fn ready() -> HostNet {
    let host = open();
    host.ensure_table().await.unwrap();
    host
}

pub(crate) fn net_of(instance: &InstanceId, workshop: &str, subnet: &str) -> WorkshopNet {
    WorkshopNet::new(instance, workshop.parse().unwrap(), subnet.parse().unwrap()).unwrap()
}

pub(crate) fn net(workshop: &str, subnet: &str) -> WorkshopNet {
    net_of(&instance(), workshop, subnet)
}

/// Seat `number` with the address `number` behind the gateway's.
pub(crate) fn port_of(instance: &InstanceId, net: &WorkshopNet, number: u16) -> Port {
    let seat = SeatRef::new(net.workshop().clone(), SeatBound::widest().seat(number.into()).unwrap());
    let address = Ipv4Addr::from(u32::from(net.gateway()) + u32::from(number));
    Port::new(instance, net, seat, address, (1000, 1000)).unwrap()
}

pub(crate) fn port(net: &WorkshopNet, number: u16) -> Port {
    port_of(&instance(), net, number)
}

/// A workshop with seats 1 and up, each with a guest on it.
pub(crate) async fn class(
    host: &HostNet,
    workshop: &str,
    subnet: &str,
    seats: u16,
) -> (WorkshopNet, Vec<Guest>) {
    let net = net_of(host.instance(), workshop, subnet);
    host.ensure_workshop(&net).await.unwrap();
    let mut guests = Vec::new();
    for number in 1..=seats {
        let port = port_of(host.instance(), &net, number);
        host.ensure_port(&net, &port).await.unwrap();
        guests.push(Guest::boot(&net, &port));
    }
    (net, guests)
}

/// The internet: a machine on the host's uplink that knows no way back to seats.
pub(crate) fn internet() -> Namespace {
    let internet = Namespace::new();
    run("ip link add up0 type veth peer name eth0");
    run(&format!("ip link set eth0 netns {}", internet.pid()));
    run(&format!("ip address add {HOST}/24 dev up0"));
    // The addresses that the kernel gives itself come late, and are no part of what is compared.
    run("ip link set up0 addrgenmode none");
    run("ip link set up0 up");
    internet.ip(&format!("address add {SERVER}/24 dev eth0"));
    internet.ip(&format!("address add {OTHER_SERVER}/32 dev lo"));
    internet.ip(&format!("address add {METADATA}/32 dev lo"));
    internet.ip("link set eth0 up");
    run(&format!("ip route add default via {SERVER}"));
    internet
}

/// Runs a command of the test on its host; what it prints.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How many packets this chain of ours has dropped, all its rules together.
pub(crate) fn dropped(family: &str, chain: &str) -> u64 {
    let text = run(&format!("nft list chain {family} {} {chain}", instance().table()));
    let counters = text.lines().filter(|line| line.trim_end().ends_with("drop")).filter_map(|line| {
        let (_, rest) = line.split_once("counter packets ")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    });
    counters.sum()
}

/// Everything that this host has of interfaces, rules, addresses, routes and neighbours, without what counts.
pub(crate) fn state() -> String {
    let parts = [
        "ip -o link",
        "ip -o address",
        "ip route show table all",
        "ip neigh",
        "bridge fdb",
        "nft list ruleset",
    ];
    let mut text = parts.map(run).concat();
    // What the kernel gives an interface by itself comes and goes with its being up.
    text.extend(run("tc qdisc").split_inclusive('\n').filter(|line| line.starts_with("qdisc tbf ")));
    // Counters and ages change by themselves.
    // An address is tentative for a moment after its interface came up (RFC 4862, section 5.4).
    let text = text.replace(" tentative", "");
    // So is the state of a device that has no more than its flags to tell (linux/if.h, IF_OPER_UNKNOWN).
    let text = text.replace(" state UNKNOWN ", " state UP ");
    let stable = text.split_inclusive(|end: char| end.is_whitespace()).scan(false, |after_counter, word| {
        let skip = std::mem::replace(after_counter, matches!(word.trim(), "packets" | "bytes"));
        Some(if skip { "" } else { word })
    });
    stable.collect()
}

pub(crate) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// Looks until it is so; frames take their time.
pub(crate) fn until(so: impl Fn() -> bool, what: &str) {
    let (_stay, never) = std::sync::mpsc::channel::<()>();
    for _ in 0..200 {
        if so() {
            return;
        }
        // A nap: nothing comes.
        let _timeout = never.recv_timeout(std::time::Duration::from_millis(50));
    }
    panic!("{what}: not within ten seconds");
}
