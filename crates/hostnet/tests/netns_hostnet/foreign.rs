//! What has our names and is not ours.

use hostnet::{HostNet, NetError, ipam};

use crate::support::{class, internet, isolated, net, net_of, options, port, ready, run, state};

#[test]
#[ignore = "needs root and network namespaces"]
fn a_bridge_of_our_name_is_left_alone() {
    isolated("foreign::a_bridge_of_our_name_is_left_alone", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        let damages = ["", "alias mine", "alias clarateach-0011"];
        for alias in damages {
            run(&format!("ip link add {} type bridge", net.bridge()));
            if !alias.is_empty() {
                run(&format!("ip link set {} {alias}", net.bridge()));
            }
            let before = state();
            for result in [
                host.ensure_workshop(&net).await,
                host.ensure_port(&net, &port(&net, 1)).await,
                host.remove_workshop(&net).await,
            ] {
                let error = result.unwrap_err();
                assert!(matches!(error, NetError::Foreign { .. }), "{error}");
                assert!(error.to_string().contains(net.bridge().as_str()), "{error}");
            }
            host.remove_port(port(&net, 1).seat()).await.unwrap();
            assert_eq!(state(), before);
            run(&format!("ip link del {}", net.bridge()));
        }
        // Not a bridge at all, with the very alias.
        run(&format!("ip tuntap add {} mode tap", net.bridge()));
        let alias = hostnet::Owner::Workshop(net.workshop().clone()).alias(host.instance());
        let set = std::process::Command::new("ip")
            .args(["link", "set", net.bridge().as_str(), "alias", &alias])
            .status();
        assert!(set.unwrap().success());
        assert!(matches!(host.ensure_workshop(&net).await, Err(NetError::Foreign { .. })));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_tap_of_our_name_is_left_alone() {
    isolated("foreign::a_tap_of_our_name_is_left_alone", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        host.ensure_workshop(&net).await.unwrap();
        let port = port(&net, 1);
        run(&format!("ip tuntap add {} mode tap", port.tap()));
        let before = state();
        for result in [host.ensure_port(&net, &port).await, host.remove_port(port.seat()).await] {
            let error = result.unwrap_err();
            assert!(matches!(error, NetError::Foreign { .. }), "{error}");
        }
        assert_eq!(state(), before);
        host.remove_all().await.unwrap();
        assert!(run("ip link").contains(port.tap().as_str()));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn all_that_a_removal_finds_in_its_way_is_told() {
    isolated("foreign::all_that_a_removal_finds_in_its_way_is_told", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        let (theirs, own) = (port(&net, 1), port(&net, 2));
        host.ensure_workshop(&net).await.unwrap();
        host.ensure_port(&net, &own).await.unwrap();
        run(&format!("ip tuntap add {} mode tap", theirs.tap()));
        // A set of ours that somebody made another of.
        let table = host.instance().table();
        run(&format!("nft delete table bridge {table}"));
        run(&format!("nft add table bridge {table}"));
        run(&format!("nft add set bridge {table} taps {{ type ipv4_addr ; }}"));

        let error = host.remove_port(theirs.seat()).await.unwrap_err();
        let text = error.to_string();
        match error {
            NetError::Several(all) => {
                assert!(matches!(all[..], [NetError::Foreign { .. }, NetError::Kernel { .. }]), "{all:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(
            text.contains(theirs.tap().as_str()) && text.contains("; seat rust-101/1: taking it"),
            "{text}"
        );
        // What can be done is done.
        assert!(matches!(host.remove_port(own.seat()).await, Err(NetError::Kernel { .. })));
        assert!(!run("ip link").contains(own.tap().as_str()));
        host.remove_all().await.unwrap();
        let links = run("ip link");
        assert!(links.contains(theirs.tap().as_str()) && !links.contains(net.bridge().as_str()), "{links}");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_subnet_that_the_host_reaches_otherwise_is_refused() {
    isolated("foreign::a_subnet_that_the_host_reaches_otherwise_is_refused", async {
        let _internet = internet();
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        for range in ["10.214.0.0/24", "10.0.0.0/8", "10.214.0.77/32", "10.214.0.0/25"] {
            run(&format!("ip route add {range} dev up0"));
            let before = state();
            let error = host.ensure_workshop(&net).await.unwrap_err();
            assert!(matches!(error, NetError::Collision { .. }), "{error}");
            assert!(error.to_string().contains(range) && error.to_string().contains("up0"), "{error}");
            assert_eq!(state(), before);
            run(&format!("ip route del {range} dev up0"));
        }
        run("ip address add 10.214.0.9/32 dev lo");
        assert!(matches!(host.ensure_workshop(&net).await, Err(NetError::Collision { .. })));
        run("ip address del 10.214.0.9/32 dev lo");

        // Another workshop's, which free_subnet keeps off.
        host.ensure_workshop(&net).await.unwrap();
        let twin = crate::support::net("go-basics", "10.214.0.64/26");
        let error = host.ensure_workshop(&twin).await.unwrap_err();
        assert!(error.to_string().contains("workshop rust-101"), "{error}");
        run("ip route add 10.214.0.128/25 dev up0");
        let taken = host.taken().await.unwrap();
        assert_eq!(ipam::free_subnet(host.pool(), 25, &taken), Ok("10.214.1.0/25".parse().unwrap()));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_subnet_that_two_services_take_at_once_has_one_of_them_or_none() {
    isolated("foreign::a_subnet_that_two_services_take_at_once_has_one_of_them_or_none", async {
        let one = ready().await;
        let mut options = options();
        options.instance = "ffeeddccbbaa99887766554433221100".parse().unwrap();
        let two = HostNet::open(options).unwrap();
        two.ensure_table().await.unwrap();
        for _ in 0..10 {
            let nets = [&one, &two].map(|host| net_of(host.instance(), "rust-101", "10.214.0.0/25"));
            let (first, second) = tokio::join!(one.ensure_workshop(&nets[0]), two.ensure_workshop(&nets[1]));
            for (made, host, net) in [(&first, &one, &nets[0]), (&second, &two, &nets[1])] {
                assert_eq!(run("ip link").contains(net.bridge().as_str()), made.is_ok(), "{made:?}");
                assert!(matches!(made, Ok(()) | Err(NetError::Collision { .. })), "{made:?}");
                host.remove_workshop(net).await.unwrap();
            }
            assert!(first.is_err() || second.is_err(), "both have it");
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn other_peoples_tables_stay() {
    isolated("foreign::other_peoples_tables_stay", async {
        run("nft add table inet clarateach_ffffffffffffffff");
        run("nft add table ip clarateach_10_213_0_0_16");
        run("ip link add docker0 type bridge");
        let before = state();
        let host = ready().await;
        let (net, _guests) = class(&host, "rust-101", "10.214.0.0/25", 1).await;
        host.remove_workshop(&net).await.unwrap();
        host.remove_all().await.unwrap();
        assert_eq!(state(), before);
    });
}
