//! Single seats.

use crate::process::Service;

#[test]
fn a_seat_is_made_shown_and_removed() {
    let service = Service::start(&[]);
    let missing = service.run(&["seat", "show", "abc", "1"]).code(3);
    assert!(missing.err.contains("seat abc/1"), "{}", missing.err);

    let made =
        service.run(&["seat", "create", "abc", "1", "--cpus", "0.5", "--output", "json"]).code(0).json();
    assert_eq!(
        (&made["seat"], &made["status"], &made["workshop"]),
        (&1.into(), &"running".into(), &"abc".into())
    );
    assert!(made["endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"));

    let conflict = service.run(&["seat", "create", "abc", "1", "--cpus", "0.6"]).code(4);
    assert!(conflict.err.contains("seat abc/1 is there with another limits"), "{}", conflict.err);
    assert!(conflict.err.contains("what to do: destroy the seat first"), "{}", conflict.err);

    let shown = service.run(&["seat", "show", "abc", "1"]).code(0).out;
    assert!(shown.contains("running") && shown.contains("clarateach-workspace"), "{shown}");
    let listed = service.run(&["seat", "list", "abc"]).code(0).out;
    assert_eq!(listed, shown);

    let gone = service.run(&["seat", "destroy", "abc", "1", "--keep-data"]).code(0);
    assert_eq!(gone.out, "seat abc/1 is gone; its data is kept\n");
    service.run(&["seat", "destroy", "abc", "1"]).code(0);
    let empty = service.run(&["seat", "list", "abc"]).code(0);
    assert_eq!((empty.out.as_str(), empty.err.as_str()), ("", "workshop abc has no seats\n"));
}

#[test]
fn a_seat_that_does_not_work_is_a_failure_with_a_reason() {
    let service = Service::start(&["--seats-start-timeout", "100ms"]);
    let exits = service.run(&["seat", "create", "abc", "1", "--image", "sim/exits"]);
    assert_eq!(exits.code, 1, "{exits:?}");
    assert!(exits.err.contains("this image always ends"), "{}", exits.err);
    let unknown = service.run(&["seat", "create", "abc", "2", "--image", "no/such"]).code(1);
    assert!(unknown.err.contains("cannot be pulled") && unknown.err.contains("what to do: load or build"));
}

#[test]
fn a_seat_that_still_starts_when_the_wait_is_over_is_late() {
    let service = Service::start(&["--sim-latency", "300ms"]);
    service.run(&["seat", "create", "abc", "2", "--wait", "0s"]).code(0);
    let made = service.run(&["seat", "create", "abc", "1", "--wait", "10ms"]).code(7);
    assert!(made.out.contains("starting") && made.err.contains("still starting"), "{made:?}");
}

#[test]
fn arguments_are_checked_before_anything_is_sent() {
    let service = Service::start(&[]);
    for arguments in [
        &["seat", "create", "abc", "0"][..],
        &["seat", "create", "abc", "01"],
        &["seat", "create", "ab", "1"],
        &["seat", "create", "a/c", "1"],
        &["seat", "create", "abc", "1", "--env", "novalue"],
        &["seat", "create", "abc", "1", "--env", "SEAT=1"],
        &["seat", "create", "abc", "1", "--env", "1A=1"],
        &["seat", "create", "abc", "1", "--env-file", "nowhere"],
        &["seat", "create", "abc", "1", "--api-key-file", "nowhere"],
        &["seat", "create", "abc", "1", "--wait", "soon"],
        &["seat", "create", "abc", "1", "--api-key", "sk-canary-x"],
        &["class", "up", "abc", "--seats", "none"],
        &["class", "up", "abc"],
    ] {
        service.run(arguments).code(2);
    }
    assert!(!service.log().contains("POST"), "{}", service.log());
}
