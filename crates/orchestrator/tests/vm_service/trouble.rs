//! Seats that something happens to.

use std::os::unix::net::UnixStream;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::host::{Host, PATIENT, REMEMBERS, all_answer, list, said, starts, until};
use crate::isolated;
use crate::process::Service;

/// The only seat of a workshop, as it is listed.
#[track_caller]
fn only(service: &Service, workshop: &str) -> Value {
    let seats = list(service, workshop);
    assert_eq!(seats.len(), 1, "{seats:?}");
    seats[0].clone()
}

/// Waits until the only seat is broken, and passes on why.
#[track_caller]
fn broken(service: &Service, workshop: &str) -> String {
    until("a broken seat", || only(service, workshop)["status"] == "error");
    only(service, workshop)["reason"].as_str().unwrap().to_owned()
}

/// Makes a seat whose workspace remembers, or starts it again.
#[track_caller]
fn create(service: &Service, workshop: &str) -> Value {
    let made = ["--output", "json", "seat", "create", workshop, "1", "--image", REMEMBERS, PATIENT];
    let made = service.run(&made).code(0).json();
    assert_eq!(made["status"], "running", "{made}");
    all_answer(&list(service, workshop), 1);
    made
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_killed_machine_is_told_and_started_again_with_its_data() {
    isolated!(a_killed_machine_is_told_and_started_again_with_its_data, || {
        let host = Host::new();
        let service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        let first = create(&service, "demo");
        assert_eq!(starts(&first), 1);

        kill_process(host.monitor("demo/1"), Signal::KILL).unwrap();
        let why = broken(&service, "demo");
        assert!(why.contains("killed by SIGKILL") && why.contains("create the seat again"), "{why}");
        let again = create(&service, "demo");
        assert_eq!((&again["id"], &again["ip"]), (&first["id"], &first["ip"]));
        assert_eq!(starts(&again), 2, "its workspace is another one");

        kill_process(host.monitor("demo/1"), Signal::KILL).unwrap();
        broken(&service, "demo");
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_that_hangs_is_told_and_can_be_destroyed() {
    isolated!(a_seat_that_hangs_is_told_and_can_be_destroyed, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        create(&service, "demo");
        // A service that has less patience than a guest needs to boot here.
        service.kill();
        let service = host.serve(&["--seats-start-timeout=5s"]);
        all_answer(&list(&service, "demo"), 1);

        let monitor = host.monitor("demo/1");
        kill_process(monitor, Signal::STOP).unwrap();
        let why = broken(&service, "demo");
        assert!(why.contains("port 300") && why.contains("does not answer"), "{why}");
        // One that goes on is well again.
        kill_process(monitor, Signal::CONT).unwrap();
        until("a seat that answers", || only(&service, "demo")["status"] == "running");
        all_answer(&list(&service, "demo"), 1);

        kill_process(monitor, Signal::STOP).unwrap();
        broken(&service, "demo");
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_whose_agent_cannot_be_spoken_to_is_told_and_can_be_destroyed() {
    isolated!(a_seat_whose_agent_cannot_be_spoken_to_is_told_and_can_be_destroyed, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        create(&service, "demo");
        service.kill();
        // Somebody else has its agent's port, which a monitor gives to one at a time.
        let socket = host.state().join("microvm/workshops/demo/1/run/agent.sock");
        let somebody = UnixStream::connect(&socket).unwrap();

        // A service that has less patience than a guest needs to boot here. Its seats are known at once, and as their ports say.
        let mut service = host.serve(&["--seats-start-timeout=5s"]);
        all_answer(&list(&service, "demo"), 1);
        let why = broken(&service, "demo");
        assert!(why.starts_with("its agent does not answer (") && why.contains("within 5 s"), "{why}");
        // Its workspace goes on, and so does the seat once its agent can be spoken to.
        let address = only(&service, "demo")["ip"].as_str().unwrap().to_owned();
        assert!(crate::host::curl(&format!("http://{address}:3001/health")).is_some());
        drop(somebody);
        until("a seat that runs", || only(&service, "demo")["status"] == "running");

        // Nor is it in the way of its end.
        service.kill();
        let _somebody = UnixStream::connect(&socket).unwrap();
        let service = host.serve(&["--seats-start-timeout=5s"]);
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_whose_network_is_deleted_is_told_and_mended() {
    isolated!(a_seat_whose_network_is_deleted_is_told_and_mended, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        let first = create(&service, "demo");
        let device = |prefix: &str| {
            let text = said("ip", &["-o", "link"]);
            let names = text
                .lines()
                .filter_map(|line| line.split([' ', ':', '@']).find(|word| word.starts_with(prefix)));
            names.map(str::to_owned).next().unwrap()
        };
        let (bridge, tap, monitor) = (device("ctb"), device("ctt"), host.monitor("demo/1"));

        // Without its bridge: mended under the machine, which runs on.
        said("ip", &["link", "del", &bridge]);
        let why = broken(&service, "demo");
        assert!(why.contains(&tap) && why.contains("not on its bridge"), "{why}");
        create(&service, "demo");
        assert_eq!(host.monitor("demo/1"), monitor);

        // Without its device, deleted while a service runs: its machine is started again, and its data is there.
        said("ip", &["link", "del", &tap]);
        let why = broken(&service, "demo");
        assert!(why.contains(&tap) && why.contains("was deleted"), "{why}");
        let again = create(&service, "demo");
        assert_eq!((&again["id"], &again["ip"]), (&first["id"], &first["ip"]));
        assert_ne!(host.monitor("demo/1"), monitor);
        assert_eq!(starts(&again), 2, "its workspace is another one");

        // Deleted while none runs, and then destroyed.
        service.kill();
        said("ip", &["link", "del", &tap]);
        let service = host.serve(&[]);
        let why = broken(&service, "demo");
        assert!(why.contains(&tap) && why.contains("was deleted"), "{why}");
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_flushed_packet_filter_is_put_in_order_by_itself() {
    isolated!(a_flushed_packet_filter_is_put_in_order_by_itself, || {
        let host = Host::new();
        let service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        create(&service, "demo");
        let before = said("nft", &["-s", "list", "ruleset"]);
        let tables = said("nft", &["list", "tables"]);
        let tables = tables.lines().map(|line| line.replacen("table", "flush table", 1));
        // All at once, and the rules of each table alone, which leaves its sets as they are.
        for damage in std::iter::once("flush ruleset".to_owned()).chain(tables) {
            said("nft", &[&damage]);
            assert_ne!(said("nft", &["-s", "list", "ruleset"]), before, "{damage}");
            until("a packet filter as before", || said("nft", &["-s", "list", "ruleset"]) == before);
            service.line_with("it is put in order again");
        }
        all_answer(&list(&service, "demo"), 1);
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
