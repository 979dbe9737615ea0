//! Starting, logging and ending.

use std::os::unix::net::UnixDatagram;

use rstest::rstest;

use crate::process::{Service, finish, orchestrator, run};

#[test]
fn every_line_of_the_log_is_json_and_says_what_matters() {
    let mut service = Service::start(&["--log-level", "debug"]);
    service.run(&["seat", "create", "abc", "1"]).code(0);
    service.run(&["seat", "show", "abc", "2"]).code(3);
    service.terminate();
    assert!(service.ended().success());
    for line in service.log().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        for member in ["timestamp", "level", "message", "target"] {
            assert!(event[member].is_string(), "{member}: {line}");
        }
    }
    assert!(service.log().contains("\"status\":201"), "{}", service.log());
}

/// Starts a service with a log format of a layer's choice, and returns the line that says where it listens.
fn listening(file: &str, variable: Option<&str>, flags: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("orchestrator.toml"), file).unwrap();
    let mut command = orchestrator(directory.path());
    command.args(["serve", "--provider", "sim", "--listen", "127.0.0.1:0"]).args(flags);
    command.envs(variable.map(|format| ("ORCHESTRATOR_LOG_FORMAT", format)));
    Service::begin(directory, command).line_with("listening")
}

#[rstest]
#[case::flag("", None, &["--log-format", "pretty"])]
#[case::variable("", Some("pretty"), &[])]
#[case::file("[log]\nformat = \"pretty\"\n", None, &[])]
#[case::flag_over_file("[log]\nformat = \"json\"\n", None, &["--log-format", "pretty"])]
fn a_pretty_log_is_lines_for_people(
    #[case] file: &str,
    #[case] variable: Option<&str>,
    #[case] flags: &[&str],
) {
    let line = listening(file, variable, flags);
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_err(), "{line}");
    // 2026-01-31T12:00:00.000000Z  INFO part::of::the::program: listening address=127.0.0.1:8080 provider="sim" …
    let words: Vec<&str> = line.split_whitespace().collect();
    let (date, time) = words[0].split_once('T').unwrap_or_else(|| panic!("{line}"));
    assert!(date.split('-').count() == 3 && time.split(':').count() == 3 && time.ends_with('Z'), "{line}");
    assert_eq!((words[1], words[3]), ("INFO", "listening"), "{line}");
    assert!(words[2].starts_with("orchestrator::") && words[2].ends_with(':'), "{line}");
    assert!(words.iter().any(|word| word.starts_with("address=127.0.0.1:")), "{line}");
    // No colours where there is no terminal.
    assert!(!line.contains('\x1b'), "{line:?}");
}

#[rstest]
#[case::flag("", None, &["--log-format", "json"])]
#[case::variable("", Some("json"), &[])]
#[case::file("[log]\nformat = \"json\"\n", None, &[])]
#[case::by_itself_without_a_terminal("", None, &[])]
#[case::auto("[log]\nformat = \"pretty\"\n", Some("auto"), &[])]
fn a_json_log_is_an_object_a_line(
    #[case] file: &str,
    #[case] variable: Option<&str>,
    #[case] flags: &[&str],
) {
    let line = listening(file, variable, flags);
    let event: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!((&event["level"], &event["message"]), (&"INFO".into(), &"listening".into()), "{line}");
    assert!(event["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{line}");
    assert!(event["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
}

#[test]
fn an_address_that_is_taken_is_told_without_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = orchestrator(directory.path());
    // The address is taken, so that the command ends by itself.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = run(command.args(["serve", "--provider", "sim", "--listen", &address])).code(1);
    assert!(done.err.contains(&format!("cannot listen on {address}")), "{}", done.err);
    assert!(done.err.contains("what to do: something listens there already"), "{}", done.err);
}

#[test]
fn a_shutdown_lets_a_running_create_end() {
    let mut service = Service::start(&["--sim-latency", "300ms"]);
    let client = service.spawn(&["seat", "create", "abc", "1"]);
    service.knows("abc", "1");
    service.terminate();
    let made = finish(client).code(0);
    assert!(made.out.contains("running"), "{made:?}");
    assert_eq!(service.ended().code(), Some(0));
    service.logged("stopped");
}

/// A service in which a seat is being made that takes several seconds more, beyond the point (the image) where
/// a shutdown simply calls it off: each listing takes as long as each step does.
fn service_in_the_middle_of_a_create(flags: &[&str]) -> Service {
    let service = Service::start(&[&["--sim-latency", "1500ms"], flags].concat());
    service.run(&["seat", "create", "abc", "1", "--wait", "0s"]).code(0);
    for _ in 0..2 {
        service.run(&["seat", "list", "abc"]).code(0);
    }
    service
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut service = service_in_the_middle_of_a_create(&["--shutdown-timeout", "1h"]);
    service.terminate();
    service.logged("shutting down");
    service.terminate();
    assert_eq!(service.ended().code(), Some(1));
    service.logged("ended at once");
}

#[test]
fn a_shutdown_has_a_deadline() {
    let mut service = service_in_the_middle_of_a_create(&["--shutdown-timeout", "10ms"]);
    service.terminate();
    assert_eq!(service.ended().code(), Some(1));
    service.logged("the time to shut down is over");
}

#[test]
fn a_shutdown_calls_off_what_has_not_begun() {
    let mut service = Service::start(&["--sim-latency", "1h", "--shutdown-timeout", "1h"]);
    service.run(&["seat", "create", "abc", "1", "--wait", "0s"]).code(0);
    service.terminate();
    assert_eq!(service.ended().code(), Some(0));
}

#[test]
fn systemd_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut service = Service::start_with(&[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
    service.terminate();
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STOPPING=1");
    assert!(service.ended().success());
}

#[test]
fn the_engine_may_be_down_at_the_start() {
    let service = Service::start(&["--provider", "docker", "--docker-host", "unix:///nowhere/docker.sock"]);
    let listed = service.run(&["class", "list"]).code(5);
    assert!(listed.err.contains("what to do: start the engine"), "{}", listed.err);
    let up = service.run(&["class", "up", "abc", "--seats", "2"]).code(5);
    assert!(up.err.contains("docker"), "{}", up.err);
}
