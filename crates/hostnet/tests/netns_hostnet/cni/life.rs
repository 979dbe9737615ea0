//! On the network, found there again, and off it.

use std::fs;
use std::net::Ipv4Addr;

use hostnet::PortState;
use serde_json::json;

use super::lab::{FIRST, Vm, bridge, lab, seat};
use crate::support::{ask, listen, ping, run};

#[test]
#[ignore = "needs root and network namespaces"]
fn a_guest_is_reached_over_the_operators_network() {
    lab("cni::life::a_guest_is_reached_over_the_operators_network", async |lab| {
        lab.network(&[
            bridge(),
            json!({"type": "tuning"}),
            json!({"type": "firewall"}),
            json!({"type": "portmap"}),
        ]);
        let service = lab.service();
        assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Unplugged);
        let at = service.attach(&seat(1), Some(1000)).await.unwrap();
        assert_eq!(at.address, format!("{FIRST}/24").parse().unwrap());
        assert_eq!((at.gateway, at.mtu), (Some(Ipv4Addr::new(10, 77, 0, 1)), 1400));
        assert_eq!(at.dns.nameservers, ["10.77.0.1".parse::<std::net::IpAddr>().unwrap()]);
        // Nobody holds it yet.
        assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Unplugged);
        let vm = Vm::boot(&at);
        let address = at.address.addr();
        vm.guest.run(|| listen(address, 3001));
        assert_eq!(ask(address, 3001), Ipv4Addr::new(10, 77, 0, 1));
        assert!(vm.guest.run(|| ping(Ipv4Addr::new(10, 77, 0, 1), true)));
        assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Whole);
        service.check(&seat(1)).await.unwrap();
        // Once more, and by the next service.
        assert_eq!(service.attach(&seat(1), Some(1000)).await.unwrap(), at);
        let next = lab.service();
        assert_eq!(next.survey().unwrap(), [seat(1)]);
        assert_eq!(next.attach(&seat(1), Some(1000)).await.unwrap(), at);
        assert_eq!(next.state(&seat(1)).await.unwrap(), PortState::Whole);
        ask(address, 3001);
        drop(vm);
        next.detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
        next.detach(&seat(1)).await.unwrap();
        assert!(next.survey().unwrap().is_empty());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_class_is_put_there_side_by_side() {
    lab("cni::life::a_class_is_put_there_side_by_side", async |lab| {
        lab.network(&[bridge(), json!({"type": "tuning"})]);
        let service = lab.service();
        let all = (1..=8).map(|number| {
            let service = service.clone();
            tokio::spawn(async move { service.attach(&seat(number), None).await })
        });
        let mut addresses = std::collections::BTreeSet::new();
        for attached in all.collect::<Vec<_>>() {
            addresses.insert(attached.await.unwrap().unwrap().address);
        }
        assert_eq!(addresses.len(), 8);
        let all = (1..=8).map(|number| {
            let service = service.clone();
            tokio::spawn(async move { service.detach(&seat(number)).await })
        });
        for detached in all.collect::<Vec<_>>() {
            detached.await.unwrap().unwrap();
        }
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_was_broken_under_a_guest_is_mended() {
    lab("cni::life::what_was_broken_under_a_guest_is_mended", async |lab| {
        lab.network(&[bridge()]);
        let service = lab.service();
        let at = service.attach(&seat(1), None).await.unwrap();
        let vm = Vm::boot(&at);
        vm.guest.run(|| listen(at.address.addr(), 3001));
        let inside = |command: &str| run(&format!("nsenter --net={} {command}", at.namespace.display()));
        for damage in ["tc qdisc del dev eth0 ingress", &format!("tc qdisc del dev {} ingress", at.tap)] {
            inside(damage);
            assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Loose, "{damage}");
            assert_eq!(service.attach(&seat(1), None).await.unwrap(), at);
            assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Whole);
            ask(at.address.addr(), 3001);
        }
        // Its name is lost, as when a service with mounts of its own ends; a process is in it still.
        let mut held = std::process::Command::new("nsenter")
            .arg(format!("--net={}", at.namespace.display()))
            .args(["sleep", "1000"])
            .spawn()
            .unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        while fs::read_link(format!("/proc/{}/ns/net", held.id())).unwrap() == own {
            tokio::task::yield_now().await;
        }
        run(&format!("umount {}", at.namespace.display()));
        assert_eq!(service.state(&seat(1)).await.unwrap(), PortState::Loose);
        assert_eq!(service.attach(&seat(1), None).await.unwrap(), at);
        held.kill().unwrap();
        held.wait().unwrap();
        ask(at.address.addr(), 3001);
        drop(vm);
        service.detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_seat_without_its_namespace_is_put_there_anew() {
    lab("cni::life::a_seat_without_its_namespace_is_put_there_anew", async |lab| {
        lab.network(&[bridge()]);
        let service = lab.service();
        service.attach(&seat(1), None).await.unwrap();
        let at = service.attach(&seat(2), None).await.unwrap();
        service.detach(&seat(1)).await.unwrap();
        // As after a reboot, where the plugin's notes are on a disk.
        run(&format!("umount {}", at.namespace.display()));
        let again = lab.service().attach(&seat(2), None).await.unwrap();
        // The network lets us ask for an address.
        assert_eq!(again.address, at.address);
        let vm = Vm::boot(&again);
        vm.guest.run(|| listen(again.address.addr(), 3001));
        ask(again.address.addr(), 3001);
        drop(vm);
        // What a plugin finds wrong, while nobody uses it, is made anew as well.
        run(&format!("nsenter --net={} ip address flush dev eth0", again.namespace.display()));
        let why = service.check(&seat(2)).await.unwrap_err().to_string();
        assert!(why.contains("seat rust-101/2: the CNI plugin bridge failed at CHECK"), "{why}");
        let mended = service.attach(&seat(2), None).await.unwrap();
        assert_eq!(mended.address, at.address);
        service.check(&seat(2)).await.unwrap();
        service.detach(&seat(2)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn off_the_network_by_what_put_it_there() {
    lab("cni::life::off_the_network_by_what_put_it_there", async |lab| {
        // It passes on what it got, and writes down what it is asked.
        let pass = "cat > /mnt/asked.$CNI_COMMAND; [ $CNI_COMMAND = ADD ] || exit 0; sed 's/.*\"prevResult\"://; s/,\"type\":\"witness\"}$//' /mnt/asked.ADD";
        lab.plugin("witness", pass);
        lab.network(&[bridge(), json!({"type": "witness"})]);
        let at = lab.service().attach(&seat(1), None).await.unwrap();
        // The operator goes another way in between; the plugin's part of then is what counts.
        lab.network(&[json!({"type": "gone"})]);
        lab.service().detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
        let asked: serde_json::Value =
            serde_json::from_slice(&fs::read(lab.path("asked.DEL")).unwrap()).unwrap();
        assert_eq!(asked["prevResult"]["ips"][0]["address"], at.address.to_string());
        assert_eq!((&asked["name"], &asked["cniVersion"]), (&json!("lab"), &json!("1.0.0")));
        // Nothing that a plugin is not to have.
        assert!(asked.get("capabilities").is_none());
    });
}
