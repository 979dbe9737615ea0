//! The doctor, without an engine.

use std::fs;

use crate::process::{Done, Service, orchestrator, run};

fn check<'a>(done: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    done["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn doctor(arguments: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    run(orchestrator(directory.path()).args(["doctor", "--url", "http://127.0.0.1:1"]).args(arguments))
}

#[test]
fn a_simulated_host_is_healthy_without_a_service() {
    let report = doctor(&["--provider", "sim", "--output", "json"]).code(0).json();
    assert_eq!(report["ok"], true);
    assert_eq!(check(&report, "configuration")["level"], "ok");
    assert_eq!(check(&report, "service")["level"], "warning");
    assert_eq!(check(&report, "service")["remedy"], "start it: orchestrator serve");

    let rows = doctor(&["--provider", "sim", "--output", "tsv"]).code(0).out;
    assert!(rows.contains("ok\tconfiguration\tvalid (no file)\t-\n"), "{rows}");
    assert!(rows.contains("\tstart it: orchestrator serve\n"), "{rows}");
}

#[test]
fn a_running_service_is_found() {
    let service = Service::start(&[]);
    let done = service.run(&["doctor", "--provider", "sim"]).code(0);
    assert!(done.out.contains("serves sim seats at http://127.0.0.1:"), "{}", done.out);
    assert!(
        done.out.contains(" checks, errors: 0, warnings: ") && !done.out.contains('\x1b'),
        "{}",
        done.out
    );
}

#[test]
fn a_wrong_configuration_is_a_finding() {
    let done = doctor(&["--seats-max", "0"]).code(1);
    assert!(done.out.contains("error") && done.out.contains("seats.max: expected"), "{}", done.out);
}

#[test]
fn an_engine_that_does_not_answer_is_an_error_with_a_remedy() {
    let report = doctor(&["--docker-host", "unix:///nowhere/docker.sock", "--output", "json"]).code(1).json();
    assert_eq!(report["ok"], false);
    let failed: Vec<_> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["level"] == "error").collect();
    assert!(!failed.is_empty() && failed.iter().all(|check| check["remedy"].is_string()), "{report}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_microvms_need_is_looked_at_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "doctor",
        "--provider",
        "microvm",
        "--state-dir",
        "state",
        "--microvm-qemu",
        "/nowhere/qemu",
        "--output",
        "json",
    ];
    let report = run(orchestrator(directory.path()).args(arguments).args(["--url", "http://127.0.0.1:1"]));
    let report = report.code(1).json();
    for missing in ["guest kernel", "monitor"] {
        let found = check(&report, missing);
        assert_eq!(found["level"], "error", "{report}");
        assert!(found["remedy"].is_string(), "{report}");
    }
    let of_seats =
        ["accelerator", "capabilities", "cgroups", "state_dir", "disk", "memory", "tun", "forwarding"];
    // On every Linux; what else there is to say depends on the processor.
    let of_the_host = ["kernel", "swap", "limits"];
    for looked_at in of_seats.into_iter().chain(of_the_host) {
        assert!(check(&report, looked_at)["detail"].is_string(), "{looked_at}: {report}");
    }
    assert!(!directory.path().join("state").exists(), "looking made something");
}

#[test]
fn a_token_that_others_can_read_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token"), "sk-canary-t0ken").unwrap();
    let arguments = ["doctor", "--provider", "sim", "--token-file", "token", "--url", "http://127.0.0.1:1"];
    let done = run(orchestrator(directory.path()).args(arguments)).code(0);
    assert!(done.out.contains("what to do: chmod 600 token"), "{}", done.out);
}
