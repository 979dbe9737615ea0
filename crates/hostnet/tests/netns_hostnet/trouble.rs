//! What the host may lack.

use hostnet::PortState;
use hostnet::tap::Tap;
use seats::Level;

use crate::support::{internet, isolated, isolated_with_iptables, net, open, port, ready, run, state};

#[test]
#[ignore = "needs root and network namespaces"]
fn the_doctor_changes_nothing_and_finds_all_well() {
    isolated("trouble::the_doctor_changes_nothing_and_finds_all_well", async {
        let before = state();
        for finding in open().doctor().await {
            assert_eq!(finding.level, Level::Ok, "{finding:?}");
        }
        assert_eq!(state(), before);
        // Nor does what is in force bother it.
        let host = ready().await;
        host.ensure_workshop(&net("rust-101", "10.214.0.0/25")).await.unwrap();
        for finding in host.doctor().await {
            assert_eq!(finding.level, Level::Ok, "{finding:?}");
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_doctor_finds_pools_and_policies_in_the_way() {
    isolated("trouble::the_doctor_finds_pools_and_policies_in_the_way", async {
        let _internet = internet();
        let host = open();
        let finding = async |name| {
            let findings = host.doctor().await;
            findings.into_iter().find(|finding| finding.name == name).unwrap()
        };
        run("ip route add 10.214.7.0/24 dev up0");
        let pool = finding("microvm_pool").await;
        assert_eq!(pool.level, Level::Warning);
        assert!(pool.detail.contains("a route of this host over up0 (10.214.7.0/24)"), "{pool:?}");
        run("ip route add 10.0.0.0/8 dev up0");
        assert_eq!(finding("microvm_pool").await.level, Level::Error);

        run("nft add table inet firewall");
        run("nft add chain inet firewall forward { type filter hook forward priority 0 ; policy drop ; }");
        let egress = finding("egress").await;
        assert_eq!(egress.level, Level::Warning);
        assert!(egress.detail.contains("the chain forward of the table inet firewall"), "{egress:?}");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_iptables_that_cannot_look_is_told_of_and_keeps_no_workshop() {
    isolated_with_iptables(
        "trouble::an_iptables_that_cannot_look_is_told_of_and_keeps_no_workshop",
        |says| async move {
            let host = ready().await;
            let net = net("rust-101", "10.214.0.0/25");
            // Nobody is asked without a workshop.
            std::fs::write(&says, "iptables v1.8.9 (nf_tables): Permission denied (you must be root)")
                .unwrap();
            host.keep_reaching().await.unwrap();
            host.ensure_workshop(&net).await.unwrap();
            let why = host.keep_reaching().await.unwrap_err().to_string();
            assert!(
                why.contains("DOCKER-USER") && why.contains("Permission denied (you must be root); see"),
                "{why}"
            );

            run("nft add table inet firewall");
            run(
                "nft add chain inet firewall forward { type filter hook forward priority 0 ; policy drop ; }",
            );
            let findings = host.doctor().await;
            let egress = findings.into_iter().find(|finding| finding.name == "egress").unwrap();
            assert_eq!(egress.level, Level::Warning);
            assert!(egress.detail.contains("is not known: iptables says: iptables v1.8.9"), "{egress:?}");

            // No chain is no trouble, however it is said; nor is an iptables that nobody has rules by.
            let legacy = "iptables v1.8.9 (legacy): can't initialize iptables table `filter': Permission denied (you must be root)";
            let unknown = "iptables v1.8.9 (nf_tables): chain `DOCKER-USER' in table `filter' is incompatible, use 'nft' tool.";
            for none in ["iptables: No chain/target/match by that name.", legacy, unknown] {
                std::fs::write(&says, none).unwrap();
                host.keep_reaching().await.unwrap();
            }
            // One with rules that only nft knows.
            run("nft add table ip filter");
            run("nft add chain ip filter DOCKER-USER");
            let why = host.keep_reaching().await.unwrap_err().to_string();
            assert!(why.contains(unknown), "{why}");
            std::fs::remove_file(&says).unwrap();
            host.keep_reaching().await.unwrap();

            std::fs::write(&says, legacy).unwrap();
            // Where this kernel has that one at all.
            let made = std::process::Command::new("iptables-legacy").args(["-N", "DOCKER-USER"]).status();
            if made.is_ok_and(|made| made.success()) {
                let why = host.keep_reaching().await.unwrap_err().to_string();
                assert!(why.contains("CAP_NET_RAW"), "{why}");
            }
            std::fs::write(&says, "").unwrap();
            host.keep_reaching().await.unwrap_err();
            host.remove_workshop(&net).await.unwrap();
            assert!(!run("ip link").contains(net.bridge().as_str()));
        },
    );
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_tables_nothing_is_let_through_unseen() {
    isolated("trouble::without_tables_nothing_is_let_through_unseen", async {
        let host = open();
        let net = net("rust-101", "10.214.0.0/25");
        let error = host.ensure_workshop(&net).await.unwrap_err().to_string();
        assert!(error.contains("workshop rust-101") && error.contains("are its tables there?"), "{error}");
        host.ensure_table().await.unwrap();
        host.ensure_workshop(&net).await.unwrap();
        run("nft flush ruleset");
        let port = port(&net, 1);
        assert!(host.ensure_port(&net, &port).await.is_err());
        // Nothing that the filter does not know gets onto a bridge.
        assert!(!run("ip link").contains(port.tap().as_str()));
        host.remove_all().await.unwrap();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_the_capability_it_says_so() {
    isolated("trouble::without_the_capability_it_says_so", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        // The capability of this process's threads, for good.
        let drop_it = || {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
            rustix::thread::set_capabilities(None, sets).unwrap();
        };
        drop_it();
        let finding =
            host.doctor().await.into_iter().find(|finding| finding.name == "cap_net_admin").unwrap();
        assert_eq!(finding.level, Level::Error);
        // The connection's own task sends, on a thread that has it still: so a new service, all of it without.
        let without = std::thread::spawn(move || {
            drop_it();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move { open().ensure_workshop(&net).await.unwrap_err().to_string() })
        });
        let error = without.join().unwrap();
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_port_that_lost_something_says_what() {
    isolated("trouble::a_port_that_lost_something_says_what", async {
        let host = ready().await;
        let net = net("rust-101", "10.214.0.0/25");
        let port = port(&net, 1);
        let state = async || host.port_state(&net, &port).await.unwrap();
        let ensure = async || {
            host.ensure_workshop(&net).await.unwrap();
            host.ensure_port(&net, &port).await.unwrap();
        };
        assert_eq!(state().await, PortState::Unplugged);
        ensure().await;
        assert_eq!(state().await, PortState::Unplugged, "nobody holds it yet");
        let held = Tap::attach(port.tap()).unwrap();
        assert_eq!(state().await, PortState::Whole);

        run(&format!("ip link set {} down", port.tap()));
        assert_eq!(state().await, PortState::Loose);
        ensure().await;
        assert_eq!(state().await, PortState::Whole);
        run(&format!("ip link del {}", net.bridge()));
        assert_eq!(state().await, PortState::Loose);
        ensure().await;
        assert_eq!(state().await, PortState::Whole);

        run(&format!("ip link del {}", port.tap()));
        assert_eq!(state().await, PortState::Unplugged);
        ensure().await;
        assert_eq!(state().await, PortState::Unplugged, "the one that is held is another");
        drop(held);
        host.remove_all().await.unwrap();
    });
}
