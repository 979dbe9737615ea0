//! Whole classes.

use crate::process::{Service, orchestrator, run};

#[test]
fn a_class_comes_up_is_listed_and_goes() {
    let service = Service::start(&[]);
    let up = service.run(&["class", "up", "rust-101", "--seats", "5"]).code(0);
    assert_eq!(up.out.lines().count(), 6, "{}", up.out);
    assert!(
        up.out.lines().skip(1).all(|line| line.contains("created") && line.contains("running")),
        "{}",
        up.out
    );
    let header = up.out.lines().next().unwrap();
    assert!(
        header.contains("ENDPOINT") && header.contains("CAME UP  ") && header.contains("STAGES"),
        "{header}"
    );
    assert!(up.out.lines().skip(1).all(|line| line.contains("  started ")), "{}", up.out);
    // Without a terminal the progress is a line per seat, and has no control characters.
    assert!(up.err.contains("seat 5: created http://127.0.0.1:") && !up.err.contains('\x1b'), "{}", up.err);

    let again = service.run(&["class", "up", "rust-101", "--seats", "5", "--output", "json"]).code(0).json();
    assert_eq!((&again["converged"], &again["counts"]["unchanged"]), (&true.into(), &5.into()));

    let workshops = service.run(&["class", "list"]).code(0);
    assert!(workshops.out.starts_with("WORKSHOP") && workshops.out.contains("rust-101"), "{}", workshops.out);
    let seats = service.run(&["class", "list", "rust-101", "--output", "json"]).code(0).json();
    assert_eq!(seats["seats"].as_array().unwrap().len(), 5);

    let down = service.run(&["class", "down", "rust-101"]).code(0);
    assert_eq!(down.out, "workshop rust-101 is gone\n");
    assert_eq!(service.run(&["class", "list"]).code(0).out, "");
    let down = service.run(&["class", "down", "rust-101", "--keep-data", "--output", "json"]).code(0).json();
    assert_eq!(down["data_kept"], true);
}

#[test]
fn single_seats_can_be_named_and_others_pruned() {
    let service = Service::start(&[]);
    service.run(&["class", "up", "abc", "--seats", "1,3-4"]).code(0);
    let report = service.run(&["class", "up", "abc", "--seats", "4,", "--output", "json"]).code(0).json();
    assert_eq!((&report["counts"]["surplus"], &report["counts"]["unchanged"]), (&2.into(), &1.into()));
    let up = ["class", "up", "abc", "--seats", "4,", "--prune", "--keep-data", "--output", "json"];
    assert_eq!(service.run(&up).code(0).json()["counts"]["destroyed"], 2);
    service.run(&["class", "up", "abc", "--seats", "4,", "--keep-data"]).code(2);
}

#[test]
fn some_failed_seats_have_an_exit_code_of_their_own() {
    let service = Service::start(&[]);
    service.run(&["seat", "create", "abc", "2", "--env", "A=1"]).code(0);
    let up = service.run(&["class", "up", "abc", "--seats", "3"]).code(6);
    assert!(
        up.err.contains("1 of 3 seats failed\n  - seat 2: seat abc/2 is there with another env"),
        "{}",
        up.err
    );
    assert!(up.err.contains("what to do:"), "{}", up.err);
    assert!(up.out.contains("conflict"), "{}", up.out);

    let up = service.run(&["class", "up", "xyz", "--seats", "2", "--image", "sim/exits"]).code(6);
    assert!(
        up.err.contains("2 of 2 seats failed") && up.err.contains("this image always ends"),
        "{}",
        up.err
    );
}

#[test]
fn a_shell_script_reads_rows() {
    let service = Service::start(&[]);
    let run = |arguments: &[&str], code| {
        let done = service.run(&[arguments, &["--output", "tsv"]].concat()).code(code);
        assert!(done.err.is_empty() || done.err.starts_with("error: "), "{}", done.err);
        let rows = done.out.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        rows.collect::<Vec<_>>()
    };
    assert!(run(&["class", "list"], 0).is_empty());
    assert!(run(&["seat", "list", "abc"], 0).is_empty());

    service.run(&["seat", "create", "abc", "2", "--env", "A=1"]).code(0);
    let up = run(&["class", "up", "abc", "--seats", "2"], 6);
    let id = service.run(&["seat", "show", "abc", "1", "--output", "json"]).json()["id"].clone();
    assert_eq!(up[0][..5], ["created", "abc", "1", "running", id.as_str().unwrap()]);
    assert!(up[0][6].starts_with("http://127.0.0.1:"), "{up:?}");
    assert_eq!(up[0][7..11], ["3001,3002", "clarateach-workspace", "-", "started"]);
    let stages: Vec<_> = up[0][11].split(',').map(|stage| stage.split_once('=').unwrap()).collect();
    assert!(stages.iter().all(|(_, millis)| millis.parse::<u64>().is_ok()), "{stages:?}");
    let start = stages.iter().position(|(stage, _)| *stage == "start").unwrap();
    assert_eq!(stages.last().unwrap().0, "ready", "{stages:?}");
    assert!(start < stages.len() - 1, "{stages:?}");
    assert_eq!((up[0].len(), up[1].len()), (12, 12));
    assert_eq!(up[1][..3], ["conflict", "abc", "2"]);
    assert!(up[1][9].contains("another env"), "{up:?}");
    assert_eq!(up[1][10], "-");

    // A seat is the same row everywhere.
    let listed = run(&["seat", "list", "abc"], 0);
    assert_eq!(listed, run(&["class", "list", "abc"], 0));
    assert_eq!(listed[0], up[0][1..10]);
    assert_eq!([listed[0].clone()], run(&["seat", "show", "abc", "1"], 0)[..]);
    assert_eq!([listed[1].clone()], run(&["seat", "create", "abc", "2", "--env", "A=1"], 0)[..]);
    assert_eq!(run(&["class", "list"], 0), [["abc", "2", "2", "0", "0", "0"]]);

    // What was not made has nothing to show but why.
    let failed = run(&["class", "up", "xyz", "--seats", "1", "--image", "no/such"], 6);
    assert_eq!(failed[0][..9], ["failed", "xyz", "1", "-", "-", "-", "-", "-", "-"]);
    assert!(failed[0][9].contains("cannot be pulled"), "{failed:?}");
    assert!(run(&["class", "down", "abc"], 0).is_empty());
}

#[test]
fn the_wait_can_be_shorter_than_the_work() {
    let service = Service::start(&["--sim-latency", "500ms"]);
    let up = service.run(&["class", "up", "abc", "--seats", "2", "--wait", "100ms"]).code(7);
    assert!(up.err.contains("the service goes on"), "{}", up.err);
    assert!(up.out.contains("starting"), "{}", up.out);
    service.run(&["class", "up", "abc", "--seats", "2"]).code(0);
}

#[test]
fn the_service_has_the_last_word_on_a_request() {
    let service = Service::start(&["--seats-max", "5", "--seats-allowed-images", "school/*"]);
    let up = service.run(&["class", "up", "abc", "--seats", "6"]).code(2);
    assert!(up.err.contains("a class has 1 to 5 seats"), "{}", up.err);
    let up = service.run(&["class", "up", "abc", "--seats", "2", "--image", "other"]);
    assert_ne!(up.code, 0);
    assert!(up.err.contains("not on this service's list of allowed images"), "{}", up.err);
    let up = service.run(&["class", "up", "abc", "--seats", "1,1,9", "--pids", "1"]).code(2);
    assert!(
        up.err.contains("\n  - seats") && up.err.contains("\n  - limits.pids: pids is from"),
        "{}",
        up.err
    );
}

#[test]
fn without_a_service_there_is_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in
        [&["class", "list"][..], &["class", "up", "abc", "--seats", "2"], &["seat", "show", "abc", "1"]]
    {
        // Port 1 needs root to listen on and nobody does.
        let mut command = orchestrator(directory.path());
        let done = run(command.args(arguments).args(["--url", "http://127.0.0.1:1"])).code(5);
        assert!(done.err.contains("the service at http://127.0.0.1:1 does not answer"), "{}", done.err);
        assert!(done.err.contains("what to do: start it with 'orchestrator serve'"), "{}", done.err);
        assert_eq!(done.out, "");
    }
    for url in ["https://x", "nonsense", "http://user:pw@x", "http://x?y"] {
        run(orchestrator(directory.path()).args(["class", "list", "--url", url])).code(2);
    }
    let mut mistyped = orchestrator(directory.path());
    let done = run(mistyped.args(["class", "list"]).env("ORCHESTRATOR_URI", "http://127.0.0.1:1")).code(2);
    assert!(done.err.contains("did you mean ORCHESTRATOR_URL?"), "{}", done.err);
}
