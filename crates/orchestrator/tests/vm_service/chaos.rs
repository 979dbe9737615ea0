//! The service killed in the middle of a class, on its way up and on its way down.

use std::fs;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::host::{Host, PATIENT, REMEMBERS, all_answer, list, pause_for, starts};
use crate::isolated;
use crate::process::{Service, finish};

/// Starts a command of the class and kills the service as soon as something is so.
#[track_caller]
fn killed_when(service: &mut Service, arguments: &[&str], is_so: impl Fn() -> bool) {
    let mut client: Child = service.spawn(arguments);
    while !is_so() {
        assert!(
            client.try_wait().unwrap().is_none(),
            "it was done before it was to be killed: {arguments:?}"
        );
        pause_for(Duration::from_millis(1));
    }
    service.kill();
    assert_ne!(finish(client).code, 0, "{arguments:?}");
}

/// The phases of a workshop's seats, as their records have them.
fn phases(host: &Host, workshop: &str) -> Vec<String> {
    let folder = host.state().join("microvm/workshops").join(workshop);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Records are replaced as a whole.
        let Ok(text) = fs::read(entry.path().join("seat.json")) else { continue };
        let record: Value = serde_json::from_slice(&text).unwrap();
        found.push(record["phase"].as_str().unwrap_or("destroying").to_owned());
    }
    found
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_while_a_class_comes_up_finishes_it_when_asked_again() {
    isolated!(a_service_killed_while_a_class_comes_up_finishes_it_when_asked_again, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        service.run(&["seat", "create", "living", "1", PATIENT]).code(0);
        let living = list(&service, "living");
        let up = ["--output", "json", "class", "up", "demo", "--seats", "3"];

        let seats = host.state().join("microvm/workshops/demo");
        let has = |file: &str| (1..=3).any(|seat| seats.join(seat.to_string()).join(file).exists());
        let moments: [(&str, &dyn Fn() -> bool); 4] = [
            ("a record was written", &|| has("seat.json")),
            ("a disk was made", &|| has("data.img")),
            ("a machine was started", &|| has("run/vmm.json")),
            ("a seat was configured", &|| phases(&host, "demo").contains(&"started".to_owned())),
        ];
        for (moment, is_so) in moments {
            killed_when(&mut service, &up, is_so);
            service = host.serve(&[]);
            // What lives was left alone, what was half made is gone; nothing is told that is not.
            all_answer(&list(&service, "living"), 1);
            assert_eq!(list(&service, "living"), living, "{moment}");
            let left = list(&service, "demo");
            assert_eq!(left.len(), phases(&host, "demo").len(), "{moment}: {left:?}");
            for seat in &left {
                assert!(matches!(seat["status"].as_str(), Some("starting" | "running")), "{moment}: {seat}");
            }
        }
        let report = service.run(&up).code(0).json();
        assert_eq!(report["converged"], true, "{report}");
        all_answer(&list(&service, "demo"), 3);
        for workshop in ["demo", "living"] {
            service.run(&["class", "down", workshop]).code(0);
        }
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_while_a_class_goes_down_finishes_it_by_itself() {
    isolated!(a_service_killed_while_a_class_goes_down_finishes_it_by_itself, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        service.run(&["seat", "create", "living", "1", PATIENT]).code(0);
        let up = ["class", "up", "demo", "--seats", "2", "--image", REMEMBERS];
        service.run(&up).code(0);

        // Seats whose data is kept have time to write it down, so there is a middle.
        let down = ["class", "down", "demo", "--keep-data"];
        killed_when(&mut service, &down, || phases(&host, "demo").contains(&"destroying".to_owned()));
        service = host.serve(&[]);
        all_answer(&list(&service, "living"), 1);
        service.run(&down).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(phases(&host, "demo"), ["kept"; 2]);
        service.run(&up).code(0);
        for seat in list(&service, "demo") {
            assert_eq!(starts(&seat), 2, "its workspace is another one: {seat}");
        }

        killed_when(&mut service, &["class", "down", "demo"], || phases(&host, "demo") != ["started"; 2]);
        service = host.serve(&[]);
        all_answer(&list(&service, "living"), 1);
        service.run(&["class", "down", "demo"]).code(0);
        service.run(&["class", "down", "living"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
