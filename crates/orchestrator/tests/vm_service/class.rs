//! A class from its first seat to its last, with the service killed in between.

use serde_json::Value;

use crate::host::{Host, all_answer, list};
use crate::isolated;

/// What a restart of the service must not change.
fn lasting(seats: &[Value]) -> Vec<[&Value; 4]> {
    seats.iter().map(|seat| [&seat["seat"], &seat["id"], &seat["ip"], &seat["created_at"]]).collect()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_class_goes_up_outlives_a_killed_service_and_goes_down_without_a_trace() {
    isolated!(a_class_goes_up_outlives_a_killed_service_and_goes_down_without_a_trace, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        let up = service.run(&["--output", "json", "class", "up", "demo", "--seats", "3"]).code(0).json();
        assert_eq!(up["converged"], true, "{up}");
        let before = list(&service, "demo");
        all_answer(&before, 3);
        // What is looked for below is there now.
        let busy = host.left(&[&service]);
        for kind in
            ["process", "interface", "address", "route", "neighbour", "packet filter", "cgroup", "file"]
        {
            assert!(busy.difference(&nothing).any(|line| line.starts_with(kind)), "no {kind} in {busy:#?}");
        }
        let monitors: Vec<_> = (1..=3).map(|seat| host.monitor(&format!("demo/{seat}"))).collect();

        service.kill();
        let service = host.serve(&[]);
        let after = list(&service, "demo");
        all_answer(&after, 3);
        assert_eq!(lasting(&after), lasting(&before));
        let adopted: Vec<_> = (1..=3).map(|seat| host.monitor(&format!("demo/{seat}"))).collect();
        assert_eq!(adopted, monitors, "the machines are others than before");
        // Asked for again, nothing changes.
        let again = service.run(&["--output", "json", "class", "up", "demo", "--seats", "3"]).code(0).json();
        let outcomes = again["seats"].as_array().unwrap().iter().map(|seat| seat["outcome"].clone());
        assert_eq!(outcomes.collect::<Vec<_>>(), ["unchanged"; 3], "{again}");

        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
