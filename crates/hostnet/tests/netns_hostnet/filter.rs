//! What a guest pretends to be.

use std::net::Ipv4Addr;
use std::time::Duration;

use hostnet::Mac;

use crate::support::{
    Guest, SERVER, ask, class, connects, datagram, dropped, echoes, internet, isolated, listen, ready, run,
    until,
};

#[test]
#[ignore = "needs root and network namespaces"]
fn a_false_address_goes_nowhere() {
    isolated("filter::a_false_address_goes_nowhere", async {
        let internet = internet();
        let host = ready().await;
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let (_, others) = class(&host, "go-basics", "10.214.0.128/25", 1).await;
        let heard = internet.run(|| echoes(SERVER, 9));
        let spoofs: [Ipv4Addr; 4] = [
            guests[1].port.address(),
            others[0].port.address(),
            Ipv4Addr::new(10, 214, 0, 77),
            Ipv4Addr::new(198, 51, 100, 77),
        ];
        let guest = &guests[0].namespace;
        for address in spoofs {
            guest.ip(&format!("address add {address}/32 dev eth0"));
            let before = dropped("bridge", "from_guest");
            guest.run(|| datagram(address, SERVER, 9, "false"));
            until(|| dropped("bridge", "from_guest") > before, &format!("{address} is dropped"));
        }
        guest.run(|| datagram(guests[0].port.address(), SERVER, 9, "true"));
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "true");
        assert!(heard.try_recv().is_err());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_false_hardware_address_goes_nowhere() {
    isolated("filter::a_false_hardware_address_goes_nowhere", async {
        let internet = internet();
        internet.run(|| listen(SERVER, 80));
        let host = ready().await;
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let address = guests[0].port.address();
        guests[0].namespace.run(|| listen(address, 3001));
        let use_mac = |mac: Mac| guests[0].namespace.ip(&format!("link set eth0 address {mac}"));
        for mac in [guests[1].port.mac(), "02:00:00:00:00:01".parse().unwrap()] {
            use_mac(mac);
            let before = dropped("bridge", "from_guest");
            assert!(!guests[0].namespace.run(|| connects(SERVER, 80)));
            assert!(dropped("bridge", "from_guest") > before);
            // Nor does the bridge learn where that address is.
            assert!(!run("bridge fdb").contains(&format!("{mac} dev {}", guests[0].port.tap())));
        }
        use_mac(guests[0].port.mac());
        guests[0].namespace.run(|| ask(SERVER, 80));
        ask(address, 3001);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn foreign_arp_ipv6_and_other_protocols_are_dropped() {
    isolated("filter::foreign_arp_ipv6_and_other_protocols_are_dropped", async {
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let [liar, victim] = guests.as_slice() else { unreachable!() };
        let all = Mac::from([0xff; 6]);
        let (mac, stolen) = (liar.port.mac(), victim.port.address());
        let neighbours = run("ip neigh");
        let is_dropped = |what: &str, send: &dyn Fn()| {
            let before = dropped("bridge", "from_guest");
            send();
            until(|| dropped("bridge", "from_guest") > before, what);
        };
        is_dropped("the address of another", &|| {
            liar.send(all, mac, 0x0806, &arp(1, mac, stolen, net.gateway()));
        });
        is_dropped("the gateway's address", &|| {
            liar.send(all, mac, 0x0806, &arp(2, mac, net.gateway(), stolen));
        });
        is_dropped("another hardware address inside", &|| {
            liar.send(all, mac, 0x0806, &arp(2, victim.port.mac(), liar.port.address(), net.gateway()));
        });
        is_dropped("IPv6", &|| liar.send(all, mac, 0x86dd, &[0x60; 40]));
        is_dropped("a VLAN", &|| liar.send(all, mac, 0x8100, &[0, 5, 8, 0, 0x45]));
        is_dropped("spanning tree", &|| liar.send([1, 0x80, 0xc2, 0, 0, 0].into(), mac, 0x26, &[0x42; 38]));
        assert_eq!(run("ip neigh"), neighbours);
        assert_eq!(victim.frames_from(mac), 0);
        reaches(victim);
        reaches(liar);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_host_answers_for_the_gateway_alone() {
    isolated("filter::the_host_answers_for_the_gateway_alone", async {
        let _internet = internet();
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let guest = &guests[0];
        let (mac, address) = (guest.port.mac(), guest.port.address());
        let gateway = Mac::of(net.gateway());
        for other in [crate::support::HOST, guests[1].port.address(), Ipv4Addr::LOCALHOST] {
            guest.send([0xff; 6].into(), mac, 0x0806, &arp(1, mac, address, other));
        }
        guest.send([0xff; 6].into(), mac, 0x0806, &arp(1, mac, address, net.gateway()));
        let answers = || {
            let frames = guest.frames();
            let arp = frames.into_iter().filter(|frame| frame[12..14] == [8, 6] && frame[21] == 2);
            arp.map(|frame| (frame[22..28].to_vec(), frame[28..32].to_vec())).collect::<Vec<_>>()
        };
        until(|| !answers().is_empty(), "the gateway answers");
        for (hardware, answered) in answers() {
            assert_eq!((&hardware[..], &answered[..]), (&gateway.octets()[..], &net.gateway().octets()[..]));
        }
    });
}

/// The payload of an ARP packet (RFC 826): 1 asks, 2 answers.
fn arp(operation: u8, mac: Mac, address: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(mac.octets());
    packet.extend(address.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    packet
}

fn reaches(guest: &Guest) {
    let address = guest.port.address();
    guest.namespace.run(|| listen(address, 3001));
    ask(address, 3001);
}
