//! More than one of everything: services on one host, workshops of one service, and seats that want one address.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vm_testbed::is_of_tables;

use crate::host::{Host, all_answer, list};
use crate::isolated;
use crate::process::Service;

/// The addresses of seats.
fn addresses(seats: &[Value]) -> BTreeSet<&str> {
    seats.iter().map(|seat| seat["ip"].as_str().unwrap()).collect()
}

/// Whom the monitor of a workshop's first seat runs as.
fn user(state: &Path, workshop: &str) -> u64 {
    let record = fs::read(state.join("microvm/workshops").join(workshop).join("1/run/vmm.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["user"]["uid"].as_u64().unwrap()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn services_and_workshops_with_the_same_numbers_do_not_touch_each_other() {
    isolated!(services_and_workshops_with_the_same_numbers_do_not_touch_each_other, || {
        let host = Host::new();
        let mut one = host.serve(&[]);
        let alone = host.left(&[&one]);
        let second = host.folder().join("second");
        host.setup(&second);
        let (directory, command) = host.service(&second, &[]);
        let two = Service::launch(directory, command);
        let nothing = host.left(&[&one, &two]);
        assert_eq!(alone.difference(&nothing).count(), 0, "a service took something from another");
        let more: Vec<_> = nothing.difference(&alone).filter(|line| !is_of_tables(line)).collect();
        assert_eq!(more, [] as [&String; 0], "a service without seats has something");

        // A third has no folder of its own.
        let (directory, command) = host.service(host.state(), &[]);
        let mut third = Service::begin(directory, command);
        assert!(!third.ended().success());
        third.line_with("is used by another service");

        for (service, workshop) in [(&one, "demo"), (&one, "other"), (&two, "demo")] {
            service.run(&["class", "up", workshop, "--seats", "1"]).code(0);
        }
        let of_one = [list(&one, "demo"), list(&one, "other")].concat();
        let of_two = list(&two, "demo");
        all_answer(&of_one, 2);
        all_answer(&of_two, 1);
        assert_eq!(addresses(&[&of_one[..], &of_two].concat()).len(), 3, "{of_one:?} {of_two:?}");
        // Both count their users from the same number.
        let users = [(host.state(), "demo"), (host.state(), "other"), (&second, "demo")];
        let users = BTreeSet::from(users.map(|(state, workshop)| user(state, workshop)));
        assert_eq!(users.len(), 3, "{users:?}");

        // A service that comes back takes up what is its own and leaves the rest alone.
        one.kill();
        let one = host.serve(&[]);
        all_answer(&list(&one, "demo"), 1);
        one.run(&["class", "down", "demo"]).code(0);
        all_answer(&list(&one, "other"), 1);
        all_answer(&list(&two, "demo"), 1);
        two.run(&["class", "down", "demo"]).code(0);
        all_answer(&list(&one, "other"), 1);
        one.run(&["class", "down", "other"]).code(0);
        assert_eq!(host.left(&[&one, &two]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn addresses_are_used_to_the_last_and_given_back_seat_after_seat() {
    isolated!(addresses_are_used_to_the_last_and_given_back_seat_after_seat, || {
        // Each costs seconds of an emulated processor.
        const SHORT_LIVED: usize = 10;
        let host = Host::new();
        // Room for two workshops of one seat.
        let service = host.serve(&["--seats-max=1", "--microvm-pool=10.219.0.0/29"]);
        let nothing = host.left(&[&service]);
        service.run(&["seat", "create", "living", "1"]).code(0);
        let living = list(&service, "living");
        assert_eq!(addresses(&living), BTreeSet::from(["10.219.0.2"]));
        let before = host.left(&[&service]);
        for number in 1..=SHORT_LIVED {
            let workshop = format!("short-{number}");
            service.run(&["seat", "create", &workshop, "1"]).code(0);
            let seats = list(&service, &workshop);
            all_answer(&seats, 1);
            assert_eq!(addresses(&seats), BTreeSet::from(["10.219.0.6"]));
            if number == 1 {
                let refused = service.run(&["seat", "create", "refused", "1"]);
                assert!(refused.code != 0 && refused.err.contains("10.219.0.0/29"), "{refused:?}");
                assert_eq!(list(&service, "refused"), [] as [Value; 0]);
            }
            service.run(&["class", "down", &workshop]).code(0);
            let left = host.left(&[&service]);
            assert_eq!(left, before, "after seat {number}");
        }
        all_answer(&list(&service, "living"), 1);
        assert_eq!(list(&service, "living"), living);
        service.run(&["class", "down", "living"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
