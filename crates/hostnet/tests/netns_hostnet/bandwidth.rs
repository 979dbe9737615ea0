//! Limits of what seats receive and send: that they are there, that they hold, that they go.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use hostnet::filter::element::Element;
use hostnet::{Bandwidth, BitRate, HostNet, Mac, Options, Port, WorkshopNet};
use seats::Level;
use serde_json::Value;

use crate::support::{
    Guest, SERVER, ask, class, dropped, instance, internet, isolated, listen, net, open, options, port,
    ready, run, state, until,
};
use crate::traffic::large;

pub(crate) fn bandwidth(to_seat: Option<u32>, from_seat: Option<u32>) -> Bandwidth {
    let rate = |mbit: Option<u32>| mbit.map(|mbit| BitRate::from_mbit(mbit).unwrap());
    Bandwidth { to_seat: rate(to_seat), from_seat: rate(from_seat) }
}

/// The same service with other settings, after a restart.
pub(crate) async fn limited(to_seat: Option<u32>, from_seat: Option<u32>) -> HostNet {
    let host = HostNet::open(Options { bandwidth: bandwidth(to_seat, from_seat), ..options() }).unwrap();
    host.ensure_table().await.unwrap();
    host
}

fn json(command: &str) -> Value {
    serde_json::from_str(&run(command)).unwrap()
}

/// What orders the frames to a guest, as `tc` has it.
fn queue(port: &Port) -> Value {
    let all = json(&format!("tc -j -s qdisc show dev {}", port.tap()));
    all.as_array().unwrap().iter().find(|qdisc| qdisc["root"] == Value::Bool(true)).cloned().unwrap()
}

/// Bytes a second to a guest, as `tc` has them.
fn receives(port: &Port) -> Option<u64> {
    let queue = queue(port);
    (queue["kind"] == "tbf").then(|| queue["options"]["rate"].as_u64().unwrap())
}

/// Bytes a second from a guest, as `nft` has them.
fn sends(port: &Port) -> Option<u64> {
    let table = instance().table();
    if !run("nft list sets bridge").contains("set limited {") {
        return None;
    }
    let listed = json(&format!("nft -j list set bridge {table} limited"));
    let entries = listed["nftables"].as_array().unwrap();
    let elements = entries.iter().find_map(|entry| entry["set"]["elem"].as_array())?;
    let element = elements
        .iter()
        .map(|element| &element["elem"])
        .find(|element| element["val"] == port.tap().as_str())?;
    let limit = &element["limit"];
    assert_eq!((&limit["per"], &limit["inv"]), (&Value::from("second"), &Value::from(true)), "{element}");
    let unit = match limit["rate_unit"].as_str().unwrap() {
        "bytes" => 1,
        "kbytes" => 1 << 10,
        "mbytes" => 1 << 20,
        other => panic!("{other}"),
    };
    Some(limit["rate"].as_u64().unwrap() * unit)
}

#[test]
#[ignore = "needs root and network namespaces"]
fn limits_come_change_and_go_under_a_guest() {
    isolated("bandwidth::limits_come_change_and_go_under_a_guest", async {
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let [guest, other] = guests.as_slice() else { unreachable!() };
        let (port, address) = (&guest.port, guest.port.address());
        guest.namespace.run(|| listen(address, 3001));
        assert_eq!((receives(port), sends(port)), (None, None));
        let before = state();

        let steps = [
            ((Some(80), Some(40)), (Some(10_000_000), Some(5_000_000))),
            // More than 32 bits of bytes a second.
            ((Some(100_000), Some(100_000)), (Some(12_500_000_000), Some(12_500_000_000))),
            ((Some(1), Some(1)), (Some(125_000), Some(125_000))),
            ((Some(16), None), (Some(2_000_000), None)),
            ((None, Some(24)), (None, Some(3_000_000))),
            ((Some(80), Some(40)), (Some(10_000_000), Some(5_000_000))),
            ((None, None), (None, None)),
        ];
        for ((to, from), there) in steps {
            let host = limited(to, from).await;
            host.ensure_workshop(&net).await.unwrap();
            host.ensure_port(&net, port).await.unwrap();
            assert_eq!((receives(port), sends(port)), there);
            // Again, and by a service that was started anew: nothing changes.
            let once = state();
            for host in [host, limited(to, from).await] {
                host.ensure_port(&net, port).await.unwrap();
                assert_eq!(state(), once);
            }
            // Only for whom it is, and the port works as before.
            assert_eq!((receives(&other.port), sends(&other.port)), (None, None));
            ask(address, 3001);
        }
        // All as it was, but for an empty set.
        let set: Vec<_> = run(&format!("nft list set bridge {} limited", instance().table()))
            .lines()
            .map(str::to_owned)
            .collect();
        assert!(!set.iter().any(|line| line.contains("elements")), "{set:?}");
        let left: Vec<_> = state().lines().filter(|line| !before.contains(line)).map(str::to_owned).collect();
        assert!(left.iter().all(|line| set.contains(line)), "{left:?}");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_is_left_of_limits() {
    isolated("bandwidth::nothing_is_left_of_limits", async {
        let empty = state();
        let host = limited(Some(80), Some(40)).await;
        let tables = state();
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 3).await;
        let survey = host.survey().await.unwrap();
        assert_eq!(survey.elements.len(), 1 + 3 * 5);
        assert!(survey.elements.contains(&Element::Limited(guests[0].port.tap().clone())));
        host.remove_port(guests[0].port.seat()).await.unwrap();
        // A device that somebody deleted takes its queue along, and its element goes with the port.
        run(&format!("ip link del {}", guests[1].port.tap()));
        host.remove_port(guests[1].port.seat()).await.unwrap();
        assert_eq!(host.survey().await.unwrap().elements.len(), 1 + 5);
        // By a service that limits nothing any more.
        let unlimited = open();
        unlimited.remove_workshop(&net).await.unwrap();
        assert!(host.survey().await.unwrap().is_empty());
        assert_eq!(state(), tables);

        let (net, _guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        host.remove_all().await.unwrap();
        assert_eq!(state(), empty);
        host.remove_port(port(&net, 1).seat()).await.unwrap();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_was_taken_away_comes_back() {
    isolated("bandwidth::what_was_taken_away_comes_back", async {
        let host = limited(Some(80), Some(40)).await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let port = &guests[0].port;
        let damages = [
            format!("tc qdisc del dev {} root", port.tap()),
            format!("tc qdisc replace dev {} root pfifo limit 10", port.tap()),
            format!("tc qdisc replace dev {} root tbf rate 1mbit burst 9k limit 9k", port.tap()),
            format!("nft flush set bridge {} limited", instance().table()),
            "nft flush ruleset".to_owned(),
        ];
        for damage in damages {
            run(&damage);
            host.ensure_table().await.unwrap();
            host.ensure_workshop(&net).await.unwrap();
            host.ensure_port(&net, port).await.unwrap();
            assert_eq!((receives(port), sends(port)), (Some(10_000_000), Some(5_000_000)), "{damage}");
        }
        // Where nothing is limited, a queue that somebody else chose is none of ours.
        run(&format!("tc qdisc replace dev {} root pfifo limit 10", port.tap()));
        limited(None, None).await.ensure_port(&net, port).await.unwrap();
        assert_eq!(queue(port)["kind"], "pfifo");
    });
}

/// Datagrams of one size, as many as a limit of 1 Mbit/s lets through in half a minute.
const DATAGRAMS: u64 = 3000;
/// The packet of each: headers of IPv4 and UDP, and what it carries.
const PACKET: u64 = 28 + 1300;
/// The smallest limit, in bytes a second.
const SLOW: u64 = 125_000;

#[test]
#[ignore = "needs root and network namespaces"]
fn a_seat_sends_no_more_than_its_limit() {
    isolated("bandwidth::a_seat_sends_no_more_than_its_limit", async {
        let internet = internet();
        let net = net("rust-101", "10.214.0.0/25");
        let unlimited = ready().await;
        unlimited.ensure_workshop(&net).await.unwrap();
        let slow = limited(None, Some(1)).await;
        let guests = [(&slow, 1), (&unlimited, 2)].map(|(host, number)| (host, port(&net, number)));
        let mut booted = Vec::new();
        for (host, port) in guests {
            host.ensure_port(&net, &port).await.unwrap();
            booted.push(Guest::boot(&net, &port));
        }
        let arrived = || {
            let eth0: Value = serde_json::from_str(&internet.ip("-j -s link show eth0")).unwrap();
            eth0[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
        };
        let mut passed = Vec::new();
        for guest in &booted {
            let (dropped_before, arrived_before) = (dropped("bridge", "prerouting"), arrived());
            let started = Instant::now();
            flood(&net, guest);
            let took = started.elapsed();
            // The filter has seen a frame when it is handed over.
            let through = DATAGRAMS - (dropped("bridge", "prerouting") - dropped_before);
            // And what it lets through arrives, but for what queues on the way may lose.
            until(|| (arrived() - arrived_before) * 10 >= through * 9, "what passes arrives");
            passed.push((through, took));
        }
        let [(slow, took), (fast, _)] = passed[..] else { unreachable!() };
        println!("of {DATAGRAMS} datagrams {slow} passed with a limit, {fast} without");
        assert_eq!(fast, DATAGRAMS);
        // A second's worth at once, and then as much as comes with time: no more, and no less than the first.
        let most = (SLOW as f64 * (1.0 + took.as_secs_f64())) as u64;
        assert!(slow * PACKET <= most, "{slow} packets of {PACKET} bytes are more than {most}");
        assert!((slow + 1) * PACKET >= SLOW, "only {slow} packets passed");
        assert!(slow < fast);
    });
}

/// Has a guest send its datagrams as fast as it can.
fn flood(net: &WorkshopNet, guest: &Guest) {
    let (from, to) = (guest.port.address(), Mac::of(net.gateway()));
    let packet = udp(from, SERVER, usize::try_from(PACKET).unwrap());
    for _ in 0..DATAGRAMS {
        guest.send(to, guest.port.mac(), 0x0800, &packet);
    }
}

/// A datagram in an IPv4 packet of this length (RFC 791, RFC 768).
fn udp(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&u16::try_from(!folded & 0xffff).unwrap().to_be_bytes());
    packet.extend([0x30, 0, 0, 9]);
    packet.extend((length - 20).to_be_bytes());
    // No checksum.
    packet.extend([0, 0]);
    packet.resize(length.into(), 7);
    packet
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_seat_receives_no_more_than_its_limit() {
    isolated("bandwidth::a_seat_receives_no_more_than_its_limit", async {
        let net = net("rust-101", "10.214.0.0/25");
        let unlimited = ready().await;
        unlimited.ensure_workshop(&net).await.unwrap();
        let slow = limited(Some(1), None).await;
        let (one, two) = (port(&net, 1), port(&net, 2));
        slow.ensure_port(&net, &one).await.unwrap();
        unlimited.ensure_port(&net, &two).await.unwrap();
        let (slow, fast) = (Guest::boot(&net, &one), Guest::boot(&net, &two));
        let frame = PACKET + 14;
        let got = |guest: &Guest| {
            let frames = guest.frames();
            u64::try_from(frames.iter().filter(|received| received.len() as u64 == frame).count()).unwrap()
        };
        // Each of these has room for more than what waits at the device: what is too much is dropped there.
        let sockets: Vec<_> = (0..8).map(|_| UdpSocket::bind((net.gateway(), 0)).unwrap()).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let payload = vec![7; usize::try_from(PACKET - 28).unwrap()];
        let started = Instant::now();
        let mut sent = 0;
        for number in 0..DATAGRAMS {
            let socket = &sockets[usize::try_from(number).unwrap() % sockets.len()];
            sent += u64::from(socket.send_to(&payload, (one.address(), 9)).is_ok());
        }
        let queue = queue(&one);
        let received = got(&slow);
        let took = started.elapsed();
        println!("of {sent} datagrams {received} were received with a limit, {} dropped", queue["drops"]);
        let burst = queue["options"]["burst"].as_u64().unwrap();
        let most = burst + (SLOW as f64 * took.as_secs_f64()) as u64;
        assert!(received * frame <= most, "{received} frames of {frame} bytes are more than {most}");
        assert!(queue["drops"].as_u64().unwrap() > 0, "{queue}");
        // What waits comes with time.
        until(|| got(&slow) * frame >= burst, "the first are received at once");

        // Without a limit as many are received as are sent, by a sender who waits for the guest.
        for number in 1..=DATAGRAMS / 10 {
            sockets[0].send_to(&payload, (two.address(), 9)).unwrap();
            if number % 50 == 0 {
                until(|| got(&fast) == number, "all are received");
            }
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn connections_live_with_limits() {
    isolated("bandwidth::connections_live_with_limits", async {
        let internet = internet();
        let host = limited(Some(40), Some(40)).await;
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let guest = &guests[0];
        internet.run(|| large::serve(SERVER, 81));
        assert_eq!(guest.namespace.run(|| large::fetch(SERVER, 81)), large::SIZE);
        // And from the host, whose stack hands over many frames as one.
        guest.namespace.run(|| large::serve(guest.port.address(), 82));
        assert_eq!(large::fetch(guest.port.address(), 82), large::SIZE);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_doctor_tries_what_limits_need() {
    isolated("bandwidth::the_doctor_tries_what_limits_need", async {
        let before = state();
        let finding = async |host: &HostNet| {
            let findings = host.doctor().await;
            findings.into_iter().find(|finding| finding.name == "bandwidth").unwrap()
        };
        let host = HostNet::open(Options { bandwidth: bandwidth(Some(50), Some(20)), ..options() }).unwrap();
        let found = finding(&host).await;
        assert_eq!(found.level, Level::Ok, "{found:?}");
        assert_eq!(found.detail, "a seat receives at most 50 Mbit/s and sends at most 20 Mbit/s");
        assert_eq!(finding(&open()).await.level, Level::Ok);
        assert_eq!(state(), before);
        // Nor where they are in force, or somebody shapes the loopback.
        run("tc qdisc add dev lo root tbf rate 1gbit burst 1m limit 1m");
        let host = limited(Some(50), Some(20)).await;
        let before = state();
        assert_eq!(finding(&host).await.level, Level::Ok);
        assert_eq!(state(), before);
    });
}
