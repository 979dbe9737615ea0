//! A class that goes on from a snapshot, as its operator sees it.

use std::fs;

use serde_json::Value;

use crate::host::{Host, all_answer, list};
use crate::isolated;
use crate::lacks::{check, doctor};
use crate::process::finish;

pub(crate) const AUTO: &str = "--microvm-snapshot=auto";

/// Whether a seat of a report went on from a snapshot, and did not boot.
#[track_caller]
pub(crate) fn restored(report: &Value) -> bool {
    let timings = &report["timings"];
    assert!(timings["ready"].is_number(), "{report}");
    timings["restore"].is_number() && timings["start"].is_null()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_class_goes_on_from_a_snapshot_and_goes_down_without_a_trace() {
    isolated!(a_class_goes_on_from_a_snapshot_and_goes_down_without_a_trace, || {
        let host = Host::new();
        let service = host.serve(&[AUTO]);
        let nothing = host.left(&[&service]);
        let up = service.run(&["--output", "json", "class", "up", "demo", "--seats", "2"]).code(0).json();
        assert_eq!(up["converged"], true, "{up}");
        let seats = up["seats"].as_array().unwrap();
        assert!(seats.len() == 2 && seats.iter().all(restored), "{up}");
        assert!(seats.iter().any(|seat| seat["timings"]["snapshot"].is_number()), "nobody made it: {up}");
        all_answer(&list(&service, "demo"), 2);

        // One more, from the same one; the others are there already.
        let rows = service.run(&["--output", "tsv", "class", "up", "demo", "--seats", "3"]).code(0).out;
        let ways: Vec<_> = rows.lines().map(|row| row.split('\t').nth(10).unwrap()).collect();
        assert_eq!(ways, ["-", "-", "restored"], "{rows}");
        let report = doctor(&host, &["env"], &[AUTO]);
        let [level, detail, _] = check(&report, "snapshots");
        assert!(level == "ok" && detail.starts_with("1 on the disk ("), "{detail}");
        assert!(detail.ends_with(", 3 seats go on from one"), "{detail}");

        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(host.left(&[&service]), nothing);
        let report = doctor(&host, &["env"], &[AUTO]);
        assert!(check(&report, "snapshots")[1].ends_with(", 0 seats go on from one"), "{report}");
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn two_classes_of_different_images_come_up_at_once_each_from_its_own_snapshot() {
    isolated!(two_classes_of_different_images_come_up_at_once_each_from_its_own_snapshot, || {
        let host = Host::new();
        let service = host.serve(&[AUTO]);
        let nothing = host.left(&[&service]);
        let images = ["latest", "other"].map(|tag| format!("{}:{tag}", vm_testbed::IMAGE));
        let up = |number: usize| {
            let workshop = ["one", "two"][number];
            let image = &images[number];
            service.spawn(&["--output", "json", "class", "up", workshop, "--seats", "2", "--image", image])
        };
        for child in [up(0), up(1)] {
            let up = finish(child).code(0).json();
            assert_eq!(up["converged"], true, "{up}");
            let seats = up["seats"].as_array().unwrap();
            assert!(seats.len() == 2 && seats.iter().all(restored), "{up}");
        }
        let of = |workshop: &str| {
            let seats = host.state().join("microvm/workshops").join(workshop);
            let record = |seat: u32| fs::read(seats.join(seat.to_string()).join("seat.json")).unwrap();
            let snapshot = |seat| {
                serde_json::from_slice::<Value>(&record(seat)).unwrap()["restored"]["snapshot"].clone()
            };
            let (first, second) = (snapshot(1), snapshot(2));
            assert!(first.is_string() && first == second, "{workshop}: {first}, {second}");
            first
        };
        assert_ne!(of("one"), of("two"));
        for workshop in ["one", "two"] {
            all_answer(&list(&service, workshop), 2);
            service.run(&["class", "down", workshop]).code(0);
        }
        assert_eq!(host.left(&[&service]), nothing);
    });
}
