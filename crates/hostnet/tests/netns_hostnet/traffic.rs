//! What gets through and what does not, between real TCP stacks.

use hostnet::{EgressPolicy, HostNet, Mac, Options, Otherwise};

use crate::support::{
    Guest, HOST, METADATA, Namespace, OTHER_SERVER, SERVER, ask, class, connects, instance, internet,
    isolated, listen, open, options, ping, ready, run,
};

#[test]
#[ignore = "needs root and network namespaces"]
fn the_host_reaches_seats_and_they_reach_the_internet() {
    isolated("traffic::the_host_reaches_seats_and_they_reach_the_internet", async {
        let internet = internet();
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        for guest in &guests {
            let address = guest.port.address();
            guest.namespace.run(|| listen(address, 3001));
            assert_eq!(ask(address, 3001), net.gateway());
            assert!(ping(address, true));
        }
        internet.run(|| listen(SERVER, 80));
        // As the host, since the internet knows no way to seats.
        assert_eq!(guests[0].namespace.run(|| ask(SERVER, 80)), HOST);
        assert!(guests[1].namespace.run(|| ping(SERVER, true)));
        // More than a frame, both ways.
        internet.run(|| large::serve(SERVER, 81));
        assert_eq!(guests[0].namespace.run(|| large::fetch(SERVER, 81)), large::SIZE);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn seats_do_not_reach_each_other() {
    isolated("traffic::seats_do_not_reach_each_other", async {
        let host = ready().await;
        let (_, one) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let (_, two) = class(&host, "go-basics", "10.214.0.128/25", 1).await;
        let other =
            HostNet::open(Options { instance: "ffffffffffffffff".parse().unwrap(), ..options() }).unwrap();
        other.ensure_table().await.unwrap();
        let (_, three) = class(&other, "rust-101", "10.214.1.0/25", 1).await;
        let guests: Vec<&Guest> = one.iter().chain(&two).chain(&three).collect();
        for guest in &guests {
            let address = guest.port.address();
            guest.namespace.run(|| listen(address, 3001));
            ask(address, 3001);
        }
        for from in &guests {
            for to in guests.iter().filter(|to| to.port != from.port) {
                let address = to.port.address();
                let (reached, answered) =
                    from.namespace.run(|| (connects(address, 3001), ping(address, false)));
                assert!(!reached && !answered, "{} reaches {}", from.port.seat(), to.port.seat());
            }
        }
        // Not by way of the gateway either, on purpose.
        let address = one[1].port.address();
        let via = hostnet::ipam::gateway("10.214.0.0/25".parse().unwrap());
        one[0].namespace.ip(&format!("route add {address}/32 via {via}"));
        assert!(!one[0].namespace.run(|| connects(address, 3001)));
        // Nor straight to its hardware address, which is no secret.
        let mac = one[1].port.mac();
        one[0].namespace.ip(&format!("route del {address}/32 via {via}"));
        one[0].namespace.ip(&format!("neigh replace {address} lladdr {mac} dev eth0"));
        assert!(!one[0].namespace.run(|| connects(address, 3001)));
        assert_eq!(one[1].frames_from(one[0].port.mac()), 0);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn seats_do_not_reach_the_host_or_its_other_networks() {
    isolated("traffic::seats_do_not_reach_the_host_or_its_other_networks", async {
        let _internet = internet();
        let container = container();
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let guest = &guests[0];
        for port in [22, 53, 8080] {
            listen(std::net::Ipv4Addr::UNSPECIFIED, port);
            for address in [net.gateway(), HOST, "172.17.0.1".parse().unwrap()] {
                assert!(!guest.namespace.run(|| connects(address, port)), "{address}:{port}");
            }
        }
        for address in [net.gateway(), HOST] {
            assert!(!guest.namespace.run(|| ping(address, false)), "{address}");
        }
        // A container, on its own address and on a port of the host that leads to it.
        container.run(|| listen("172.17.0.2".parse().unwrap(), 80));
        ask("172.17.0.2".parse().unwrap(), 80);
        run("nft add table ip other");
        run("nft add chain ip other rewrite { type nat hook prerouting priority -100 ; }");
        run("nft add rule ip other rewrite fib daddr type local tcp dport 8081 dnat to 172.17.0.2:80");
        assert!(!guest.namespace.run(|| connects("172.17.0.2".parse().unwrap(), 80)));
        assert!(!guest.namespace.run(|| connects(HOST, 8081)));
        assert!(!guest.namespace.run(|| connects(net.gateway(), 8081)));
        // And the other way round: a container reaches no seat.
        let address = guest.port.address();
        guest.namespace.run(|| listen(address, 3001));
        ask(address, 3001);
        assert!(!container.run(|| connects(address, 3001)));
    });
}

/// A namespace on a bridge such as Docker's.
fn container() -> Namespace {
    let container = Namespace::new();
    run("ip link add docker0 type bridge");
    run("ip address add 172.17.0.1/16 dev docker0");
    run("ip link set docker0 up");
    run("ip link add ve0 type veth peer name eth0");
    run(&format!("ip link set eth0 netns {}", container.pid()));
    run("ip link set ve0 master docker0 up");
    container.ip("address add 172.17.0.2/16 dev eth0");
    container.ip("link set eth0 up");
    container.ip("route add default via 172.17.0.1");
    container
}

#[test]
#[ignore = "needs root and network namespaces"]
fn metadata_and_denied_ranges_are_out_of_reach() {
    isolated("traffic::metadata_and_denied_ranges_are_out_of_reach", async {
        let internet = internet();
        run(&format!("ip route add {METADATA} via {SERVER}"));
        let host = ready().await;
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let guest = &guests[0].namespace;
        internet.run(|| {
            [SERVER, OTHER_SERVER, METADATA].map(|address| [53, 80].map(|port| listen(address, port)))
        });
        ask(METADATA, 80);
        let reached = || {
            guest.run(|| {
                [SERVER, OTHER_SERVER, METADATA].map(|address| [53, 80].map(|port| connects(address, port)))
            })
        };
        assert_eq!(reached(), [[true, true], [true, true], [false, false]]);

        let policy = |policy| Options { egress: policy, ..options() };
        let deny = EgressPolicy { deny: vec!["203.0.113.0/24".parse().unwrap()], ..EgressPolicy::default() };
        // The same service with another configuration, after a restart.
        let host = HostNet::open(policy(deny.clone())).unwrap();
        host.ensure_table().await.unwrap();
        assert_eq!(reached(), [[true, true], [false, false], [false, false]]);

        let excepted = EgressPolicy { allow: vec![format!("{OTHER_SERVER}/32").parse().unwrap()], ..deny };
        HostNet::open(policy(excepted)).unwrap().ensure_table().await.unwrap();
        assert_eq!(reached(), [[true, true], [true, true], [false, false]]);

        let listed = EgressPolicy {
            otherwise: Otherwise::Deny,
            allow: vec![format!("{SERVER}/32").parse().unwrap()],
            ..EgressPolicy::default()
        };
        let with_names = Options { resolvers: [METADATA].into(), ..policy(listed) };
        HostNet::open(with_names).unwrap().ensure_table().await.unwrap();
        assert_eq!(reached(), [[true, true], [false, false], [true, false]]);

        open().ensure_table().await.unwrap();
        assert_eq!(reached(), [[true, true], [true, true], [false, false]]);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_name_server_on_the_host_is_reached_when_it_is_configured() {
    isolated("traffic::a_name_server_on_the_host_is_reached_when_it_is_configured", async {
        let _internet = internet();
        let host = HostNet::open(Options { resolvers: [HOST].into(), ..options() }).unwrap();
        host.ensure_table().await.unwrap();
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        listen(std::net::Ipv4Addr::UNSPECIFIED, 53);
        listen(std::net::Ipv4Addr::UNSPECIFIED, 80);
        guests[0].namespace.run(|| {
            assert_eq!(ask(HOST, 53), guests[0].port.address());
            assert!(!connects(HOST, 80) && !connects(net.gateway(), 53));
        });

        // They are told of another one now.
        let ports = [(net.clone(), guests[0].port.clone())];
        host.follow_resolvers([net.gateway()].into()).await.unwrap();
        guests[0].namespace.run(|| {
            assert_eq!(ask(net.gateway(), 53), guests[0].port.address());
            assert!(!connects(HOST, 53) && !connects(net.gateway(), 80));
        });
        assert!(host.guards(&ports).await.unwrap());
        // It stays so when the rules are put there again, and as long as nothing changes they are not.
        host.ensure_table().await.unwrap();
        let rules = || run(&format!("nft -s -a list table inet {}", host.instance().table()));
        let before = rules();
        host.follow_resolvers([net.gateway()].into()).await.unwrap();
        assert_eq!(rules(), before);
        guests[0].namespace.run(|| {
            ask(net.gateway(), 53);
            assert!(!connects(HOST, 53));
        });
        host.follow_resolvers(std::collections::BTreeSet::new()).await.unwrap();
        assert!(!guests[0].namespace.run(|| connects(net.gateway(), 53)));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_opens_a_connection_to_a_seat_but_the_host() {
    isolated("traffic::nothing_opens_a_connection_to_a_seat_but_the_host", async {
        let internet = internet();
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let address = guests[0].port.address();
        guests[0].namespace.run(|| listen(address, 3001));
        internet.ip(&format!("route add {} via {HOST}", net.subnet()));
        ask(address, 3001);
        assert!(!internet.run(|| connects(address, 3001)));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn docker_beside_us_lets_seats_out() {
    isolated("traffic::docker_beside_us_lets_seats_out", async {
        let internet = internet();
        internet.run(|| listen(SERVER, 80));
        // As Docker leaves it when it turns forwarding on.
        run("iptables -N DOCKER-USER");
        run("iptables -A DOCKER-USER -j RETURN");
        run("iptables -A FORWARD -j DOCKER-USER");
        run("iptables -P FORWARD DROP");
        let before = run("iptables -S");
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        host.bridge_made().await;
        host.keep_reaching().await.unwrap();
        assert_eq!(guests[0].namespace.run(|| ask(SERVER, 80)), HOST);
        let with_one = run("iptables -S");
        host.keep_reaching().await.unwrap();
        // Nor by the next service, which has seen nothing yet.
        ready().await.keep_reaching().await.unwrap();
        assert_eq!(run("iptables -S"), with_one);
        run("iptables -F DOCKER-USER");
        run("iptables -A DOCKER-USER -j RETURN");
        host.keep_reaching().await.unwrap();
        assert_eq!(guests[0].namespace.run(|| ask(SERVER, 80)), HOST);
        host.remove_workshop(&net).await.unwrap();
        assert_eq!(run("iptables -S"), before);

        let (_, _guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        host.keep_reaching().await.unwrap();
        host.remove_all().await.unwrap();
        assert_eq!(run("iptables -S"), before);
        // Without a bridge of ours there is nothing to let through.
        host.keep_reaching().await.unwrap();
        assert_eq!(run("iptables -S"), before);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn docker_that_comes_after_a_workshop_lets_seats_out() {
    isolated("traffic::docker_that_comes_after_a_workshop_lets_seats_out", async {
        let internet = internet();
        internet.run(|| listen(SERVER, 80));
        let host = ready().await;
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let guest = &guests[0].namespace;
        host.keep_reaching().await.unwrap();
        assert_eq!(guest.run(|| ask(SERVER, 80)), HOST);
        run("iptables -P FORWARD DROP");
        run("iptables -N DOCKER-USER");
        run("iptables -A FORWARD -j DOCKER-USER");
        assert!(!guest.run(|| connects(SERVER, 80)));
        host.keep_reaching().await.unwrap();
        assert_eq!(guest.run(|| ask(SERVER, 80)), HOST);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_bridge_that_becomes_the_way_out_is_one_for_seats() {
    isolated("traffic::a_bridge_that_becomes_the_way_out_is_one_for_seats", async {
        let internet = internet();
        internet.run(|| listen(SERVER, 80));
        // The uplink is on a bridge, and the host has no default route yet.
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        run(&format!("ip address del {HOST}/24 dev up0"));
        run("ip link set up0 master br0");
        run(&format!("ip address add {HOST}/24 dev br0"));
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let guest = &guests[0].namespace;
        ask(SERVER, 80);
        host.keep_reaching().await.unwrap();
        assert!(!guest.run(|| connects(SERVER, 80)), "a bridge like any other");

        run(&format!("ip route add default via {SERVER}"));
        host.keep_reaching().await.unwrap();
        assert_eq!(guest.run(|| ask(SERVER, 80)), HOST);
        let ports = [(net, guests[0].port.clone())];
        assert!(host.guards(&ports).await.unwrap());
        // And the other way round.
        run(&format!("ip route del default via {SERVER}"));
        host.keep_reaching().await.unwrap();
        assert!(!guest.run(|| connects(SERVER, 80)));
        assert!(host.guards(&ports).await.unwrap());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn frames_are_not_flooded() {
    isolated("traffic::frames_are_not_flooded", async {
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 3).await;
        let [sender, rest @ ..] = guests.as_slice() else { unreachable!() };
        let from = sender.port.mac();
        let unknown: Mac = "02:00:00:00:00:99".parse().unwrap();
        let everybody =
            [[0xff; 6].into(), [0x01, 0, 0x5e, 0, 0, 1].into(), [0x01, 0x80, 0xc2, 0, 0, 0].into(), unknown];
        for to in everybody {
            // An IPv4 header with the sender's own address, which the filter lets in.
            sender.send(to, from, 0x0800, &ip_header(sender.port.address(), net.subnet().broadcast()));
        }
        // From the host too: an unknown neighbour of the subnet, whom it asks for by broadcast.
        assert!(!connects("10.214.0.99".parse().unwrap(), 1));
        // What comes after it has come, so has what came before.
        for guest in rest {
            let address = guest.port.address();
            guest.namespace.run(|| listen(address, 3001));
            ask(address, 3001);
            assert_eq!(guest.frames_from(from), 0);
            let to_others =
                guest.frames().iter().filter(|frame| frame[..6] != guest.port.mac().octets()).count();
            assert_eq!(to_others, 0, "{:?}", guest.frames());
        }
        assert_eq!(instance(), *host.instance());
    });
}

fn ip_header(from: std::net::Ipv4Addr, to: std::net::Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 20, 0, 1, 0, 0, 64, 17, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&u16::try_from(!folded & 0xffff).unwrap().to_be_bytes());
    header
}

pub(crate) mod large {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    pub(crate) const SIZE: usize = 3 << 20;

    pub(crate) fn serve(address: Ipv4Addr, port: u16) {
        let listener = TcpListener::bind((address, port)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; SIZE];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&asked).unwrap();
        });
    }

    pub(crate) fn fetch(address: Ipv4Addr, port: u16) -> usize {
        let mut stream = TcpStream::connect((address, port)).unwrap();
        stream.write_all(&vec![7; SIZE]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap()
    }
}
