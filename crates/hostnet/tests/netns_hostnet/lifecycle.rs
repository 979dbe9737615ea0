//! Making, making again, repairing, taking away.

use std::time::{Duration, Instant};

use hostnet::filter::element::Element;
use hostnet::{HostNet, NetError, Options, Owner, Port};

use crate::bandwidth::{bandwidth, limited};
use crate::support::{
    Guest, ask, class, instance, isolated, isolated_with_spies, listen, net, net_of, open, options, port,
    port_of, ready, run, state,
};

#[test]
#[ignore = "needs root and network namespaces"]
fn everything_can_be_done_twice() {
    isolated("lifecycle::everything_can_be_done_twice", async {
        let host = ready().await;
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let reaches = || {
            for guest in &guests {
                ask(guest.port.address(), 3001);
            }
        };
        for guest in &guests {
            guest.namespace.run(|| listen(guest.port.address(), 3001));
        }
        reaches();
        let before = state();
        for host in [host, open()] {
            host.ensure_table().await.unwrap();
            host.ensure_workshop(&net).await.unwrap();
            for guest in &guests {
                host.ensure_port(&net, &guest.port).await.unwrap();
            }
            assert_eq!(sorted(&state()), sorted(&before));
            reaches();
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_is_left_over() {
    isolated("lifecycle::nothing_is_left_over", async {
        let empty = state();
        let host = ready().await;
        let tables = state();
        assert!(host.survey().await.unwrap().is_empty());
        let (net, guests) = class(&host, "rust-101", "10.214.0.0/25", 3).await;
        let survey = host.survey().await.unwrap();
        assert_eq!(survey.interfaces.len(), 4);
        assert_eq!(survey.interfaces[0].owner, Owner::Workshop(net.workshop().clone()));
        assert!(survey.interfaces[1..].iter().all(|found| found.bridge.as_ref() == Some(net.bridge())));
        assert_eq!(survey.elements.len(), 1 + 3 * 4);
        assert!(survey.elements.contains(&Element::Seat(net.bridge().clone(), guests[2].port.address())));

        for _ in 0..2 {
            host.remove_port(guests[0].port.seat()).await.unwrap();
            assert_eq!(host.survey().await.unwrap().elements.len(), 1 + 2 * 4);
        }
        // The rest with the workshop, guests on their devices.
        for _ in 0..2 {
            host.remove_workshop(&net).await.unwrap();
            assert!(host.survey().await.unwrap().is_empty());
        }
        assert_eq!(state(), tables);
        let (_, _guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        for _ in 0..2 {
            host.remove_all().await.unwrap();
        }
        assert_eq!(state(), empty);
        // And without any table.
        host.remove_workshop(&net).await.unwrap();
        host.remove_port(port(&net, 1).seat()).await.unwrap();
        assert!(host.survey().await.unwrap().is_empty());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_that_another_port_has_stays_with_it() {
    isolated("lifecycle::an_address_that_another_port_has_stays_with_it", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        host.ensure_workshop(&net).await.unwrap();
        let (stale, living) = (port(&net, 1), port(&net, 2));
        // The seat that had it before, by a record that is not true any more.
        let before =
            Port::new(&instance(), &net, stale.seat().clone(), living.address(), (1000, 1000)).unwrap();
        for port in [&before, &stale, &living] {
            host.ensure_port(&net, port).await.unwrap();
        }
        let guest = Guest::boot(&net, &living);
        guest.namespace.run(|| listen(living.address(), 3001));
        ask(living.address(), 3001);
        let known = |port: &Port| {
            [
                Element::Tap(port.tap().clone()),
                Element::Guest(port.tap().clone(), port.mac(), port.address()),
                Element::Seat(net.bridge().clone(), port.address()),
                Element::Address(port.address()),
            ]
        };
        let mut left: Vec<_> =
            known(&living).into_iter().chain([Element::Bridge(net.bridge().clone())]).collect();
        left.sort();
        // Twice: when it is removed again there is nothing of it, and the address is not its own.
        for _ in 0..2 {
            host.remove_port(stale.seat()).await.unwrap();
            assert_eq!(host.survey().await.unwrap().elements, left);
            let neighbours = run("ip neigh show nud permanent");
            assert!(neighbours.contains(&living.address().to_string()), "{neighbours}");
            assert!(!neighbours.contains(&format!("{} ", stale.address())), "{neighbours}");
            ask(living.address(), 3001);
        }
        host.remove_port(living.seat()).await.unwrap();
        assert_eq!(run("ip neigh show nud permanent"), "");
        assert_eq!(host.survey().await.unwrap().elements, [Element::Bridge(net.bridge().clone())]);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn forty_seats_come_and_go() {
    isolated("lifecycle::forty_seats_come_and_go", async {
        for (to_seat, from_seat) in [(None, None), (Some(80), Some(40))] {
            let host = limited(to_seat, from_seat).await;
            let net = net("rust-101", "10.214.0.0/25");
            host.ensure_workshop(&net).await.unwrap();
            let before = state();
            let mut took = Vec::new();
            for round in 1..=40 {
                let port = port(&net, round % 5 + 1);
                let started = Instant::now();
                host.ensure_port(&net, &port).await.unwrap();
                took.push(started.elapsed());
                host.remove_port(port.seat()).await.unwrap();
            }
            took.sort();
            let bandwidth = bandwidth(to_seat, from_seat);
            let (median, best) = (took[took.len() / 2], took[0]);
            println!("network of a seat made in {median:?} (median), {best:?} (best): {bandwidth}");
            assert_eq!(state(), before);
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_class_is_made_side_by_side() {
    isolated("lifecycle::a_class_is_made_side_by_side", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/24");
        host.ensure_workshop(&net).await.unwrap();
        let all = (1..=100).map(|number| {
            let (host, net) = (host.clone(), net.clone());
            tokio::spawn(async move { host.ensure_port(&net, &port(&net, number)).await })
        });
        for made in all.collect::<Vec<_>>() {
            made.await.unwrap().unwrap();
        }
        assert_eq!(host.survey().await.unwrap().elements.len(), 1 + 100 * 4);
        host.remove_workshop(&net).await.unwrap();
        assert!(host.survey().await.unwrap().is_empty());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_was_broken_is_repaired() {
    isolated("lifecycle::what_was_broken_is_repaired", async {
        let host = ready().await;
        let (net, mut guests) = class(&host, "rust-101", "10.214.0.0/25", 2).await;
        let before = state();
        for guest in &guests {
            guest.namespace.run(|| listen(guest.port.address(), 3001));
        }
        let tap = guests[0].port.tap().clone();
        let damages = [
            format!("ip link set {tap} nomaster"),
            format!("ip link set {tap} down"),
            format!("bridge link set dev {tap} isolated off learning on flood on"),
            format!("ip neigh flush dev {} nud permanent", net.bridge()),
            format!("bridge fdb del {} dev {tap} master", guests[0].port.mac()),
            format!("ip link set {} down", net.bridge()),
            format!("ip address flush dev {}", net.bridge()),
            "nft flush ruleset".to_owned(),
            format!("nft flush table bridge {}", instance().table()),
            format!("nft flush table inet {}", instance().table()),
        ];
        let repair = async || {
            host.ensure_table().await.unwrap();
            host.ensure_workshop(&net).await.unwrap();
            for number in [1, 2] {
                host.ensure_port(&net, &port(&net, number)).await.unwrap();
            }
        };
        for damage in damages {
            run(&damage);
            repair().await;
            assert_eq!(sorted(&state()), sorted(&before), "{damage}");
            for guest in &guests {
                ask(guest.port.address(), 3001);
            }
        }
        // A device that is gone is made anew, and takes a VMM again.
        let port = guests[0].port.clone();
        run(&format!("ip link del {tap}"));
        drop(guests.remove(0));
        repair().await;
        let guest = Guest::boot(&net, &port);
        guest.namespace.run(|| listen(port.address(), 3001));
        ask(port.address(), 3001);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn no_seat_waits_for_another_program() {
    isolated_with_spies("lifecycle::no_seat_waits_for_another_program", |started| async move {
        let host = ready().await;
        let before = std::fs::read_to_string(&started).unwrap();
        assert!(before.starts_with("nft "), "{before}");
        // Docker is there, so that there is something to look for.
        run("iptables -N DOCKER-USER");
        std::fs::remove_file(&started).unwrap();
        for workshop in [net("rust-101", "10.214.0.0/25"), net("go-basics", "10.214.0.128/25")] {
            for number in 1..=3 {
                host.ensure_workshop(&workshop).await.unwrap();
                host.ensure_port(&workshop, &port(&workshop, number)).await.unwrap();
                host.remove_port(port(&workshop, number).seat()).await.unwrap();
            }
        }
        assert!(!started.exists(), "{}", std::fs::read_to_string(&started).unwrap());
        host.keep_reaching().await.unwrap();
        let looked = std::fs::read_to_string(&started).unwrap();
        assert!(looked.lines().all(|line| line.starts_with("iptables ")), "{looked}");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_is_taken_out_of_the_filter_is_seen() {
    isolated("lifecycle::what_is_taken_out_of_the_filter_is_seen", async {
        let host = limited(None, Some(40)).await;
        let net = net("rust-101", "10.214.0.0/25");
        let ports = [port(&net, 1), port(&net, 2)].map(|port| (net.clone(), port));
        let repair = async || {
            host.ensure_table().await.unwrap();
            host.ensure_workshop(&net).await.unwrap();
            for (net, port) in &ports {
                host.ensure_port(net, port).await.unwrap();
            }
        };
        repair().await;
        let filter = || sorted(&run("nft -s list ruleset"));
        let before = filter();
        assert!(host.guards(&ports).await.unwrap());
        let (table, tap) = (instance().table(), ports[0].1.tap());
        let last = |family: &str, chain: &str| {
            let listed = run(&format!("nft -a list chain {family} {table} {chain}"));
            let rule =
                listed.lines().rfind(|line| line.contains(" # handle ") && !line.contains('{')).unwrap();
            rule.rsplit(' ').next().unwrap().to_owned()
        };
        let damages = [
            "nft flush ruleset".to_owned(),
            format!("nft flush table bridge {table}"),
            format!("nft flush table inet {table}"),
            format!("nft flush chain bridge {table} from_guest"),
            format!("nft flush chain inet {table} forward"),
            format!("nft delete rule bridge {table} from_guest handle LAST"),
            format!("nft insert rule inet {table} outward accept"),
            format!("nft replace rule inet {table} inward handle LAST accept"),
            format!("nft delete element bridge {table} taps {{ {tap} }}"),
            format!("nft delete element bridge {table} limited {{ {tap} }}"),
            format!("nft delete element inet {table} bridges {{ {} }}", net.bridge()),
        ];
        for damage in damages {
            // Rules have other numbers each time.
            let words: Vec<_> = damage.split(' ').collect();
            let damage = match words[..] {
                ["nft", _, "rule", family, _, chain, "handle", ..] => {
                    damage.replace("LAST", &last(family, chain))
                }
                _ => damage,
            };
            run(&damage);
            assert!(!host.guards(&ports).await.unwrap(), "{damage}");
            repair().await;
            assert!(host.guards(&ports).await.unwrap(), "{damage}");
            assert_eq!(filter(), before, "{damage}");
        }
        // What others do to tables of their own is no matter.
        run("nft add table inet firewall");
        assert!(host.guards(&ports).await.unwrap());
    });
}

/// Lines in any order: what was made anew comes last.
fn sorted(state: &str) -> Vec<String> {
    let mut lines: Vec<_> = state.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

/// Does this once more for as long as there is a device that looks like somebody else's: one that was just made by a request that was given up, which goes by
/// itself.
async fn once_it_is_nobodys(what: impl AsyncFn() -> Result<(), NetError>) {
    for _ in 0..500 {
        match what().await {
            Err(NetError::Foreign { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            done => return done.unwrap(),
        }
    }
    panic!("the device of a request that was given up stays");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn half_made_things_are_finished() {
    isolated("lifecycle::half_made_things_are_finished", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        // Killed right after the bridge was made.
        let mac = hostnet::Mac::of(net.gateway());
        run(&format!("ip link add {} address {mac} type bridge", net.bridge()));
        host.ensure_workshop(&net).await.unwrap();
        host.remove_workshop(&net).await.unwrap();
        run(&format!("ip link add {} address {mac} type bridge", net.bridge()));
        host.remove_workshop(&net).await.unwrap();
        assert!(!run("ip link").contains(net.bridge().as_str()));
        // A request that is given up at any point is finished by the next, or undone.
        host.ensure_workshop(&net).await.unwrap();
        let before = state();
        let port = port(&net, 1);
        for polls in 0..40 {
            let mut making = Box::pin(host.ensure_port(&net, &port));
            for _ in 0..polls {
                let done = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(making.as_mut().poll(context).is_ready())
                });
                if done.await {
                    making = Box::pin(host.ensure_port(&net, &port));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            drop(making);
            if polls % 2 == 0 {
                let again = async || host.ensure_port(&net, &port).await;
                once_it_is_nobodys(again).await;
            }
            once_it_is_nobodys(async || host.remove_port(port.seat()).await).await;
        }
        assert_eq!(state(), before);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn two_services_do_not_touch_each_other() {
    isolated("lifecycle::two_services_do_not_touch_each_other", async {
        let host = ready().await;
        let other =
            HostNet::open(Options { instance: "ffffffffffffffff".parse().unwrap(), ..options() }).unwrap();
        other.ensure_table().await.unwrap();
        let (_, guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        let before = state();
        let theirs = net_of(other.instance(), "rust-101", "10.214.0.128/25");
        other.ensure_workshop(&theirs).await.unwrap();
        other.ensure_port(&theirs, &port_of(other.instance(), &theirs, 1)).await.unwrap();
        assert_eq!(host.survey().await.unwrap().interfaces.len(), 2);
        assert_eq!(other.survey().await.unwrap().interfaces.len(), 2);
        other.remove_workshop(&theirs).await.unwrap();
        assert_eq!(state(), before);
        other.remove_all().await.unwrap();
        guests[0].namespace.run(|| listen(guests[0].port.address(), 3001));
        ask(guests[0].port.address(), 3001);
        assert_eq!(host.instance(), &instance());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_first_seats_of_a_workshop_come_side_by_side() {
    isolated("lifecycle::the_first_seats_of_a_workshop_come_side_by_side", async {
        let host = ready().await;
        for _ in 0..10 {
            let net = net("rust-101", "10.214.0.0/25");
            let seats = (1..=8).map(async |number| {
                host.ensure_workshop(&net).await?;
                host.ensure_port(&net, &port(&net, number)).await
            });
            futures_util::future::try_join_all(seats).await.unwrap();
            host.remove_workshop(&net).await.unwrap();
        }
    });
}
