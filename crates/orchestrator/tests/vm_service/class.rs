//! A class from its first seat to its last, with the service killed in between.

use std::io::Write as _;

use rustix::process::Pid;
use serde_json::Value;
use vm_testbed::{Need, WORKSPACE, can_run};

use crate::host::{Host, all_answer, list, said};
use crate::isolated;
use crate::process::{Service, kept_as};

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

/// Says a command and what it answered, as a terminal would show it.
fn shown(command: &str, answer: &str) {
    let text = format!("# {command}\n{}\n", answer.trim_end());
    println!("{text}");
    if let Some(mut file) = kept_as("class") {
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// Runs a command of the service, and shows it.
#[track_caller]
fn run(service: &Service, words: &str) {
    let arguments: Vec<_> = words.split(' ').collect();
    shown(&format!("orchestrator {words}"), &service.run(&arguments).code(0).out);
}

/// Asks each seat of a class on each port of its, and shows what it says of itself.
#[track_caller]
fn ask(service: &Service, number: usize) {
    let seats = list(service, "demo");
    all_answer(&seats, number);
    for seat in &seats {
        for (port, server) in [(3001, "terminal"), (3002, "files")] {
            let url = format!("http://{}:{port}/health", seat["ip"].as_str().unwrap());
            let body = said("curl", &["-s", "-f", "-m", "60", &url]);
            shown(&format!("curl {url}"), &body);
            let health: Value = serde_json::from_str(&body).unwrap();
            let expected = serde_json::json!({
                "status": "ok", "service": server, "seat": seat["seat"].to_string(),
            });
            assert_eq!(health, expected, "{url}");
        }
    }
}

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and the reference image; cargo xtask test runs it"]
fn a_class_of_the_reference_image_is_as_the_documents_show_it() {
    if !can_run(&[Need::Workspace]) {
        return;
    }
    isolated!(a_class_of_the_reference_image_is_as_the_documents_show_it, || {
        let host = Host::new();
        let archive = host.folder().join("archives/workspace.tar");
        std::os::unix::fs::symlink(vm_testbed::workspace().unwrap(), archive).unwrap();
        let flags = [
            "--seats-image",
            WORKSPACE,
            "--seats-memory-mib=256",
            "--microvm-scratch-mib=256",
            "--microvm-data-mib=256",
        ];
        let mut service = host.serve(&flags);
        let nothing = host.left(&[&service]);
        let monitors = || (1..=3).map(|seat| host.monitor(&format!("demo/{seat}"))).collect::<Vec<Pid>>();
        run(&service, "class up demo --seats 3 --wait 20m");
        run(&service, "class list demo");
        ask(&service, 3);
        let before = monitors();

        service.kill();
        shown("kill -9 of the service, and another one", "");
        let service = host.serve(&flags);
        run(&service, "class list demo");
        ask(&service, 3);
        assert_eq!(monitors(), before, "the machines are others than before");

        run(&service, "class down demo");
        let left: Vec<_> = host.left(&[&service]).difference(&nothing).cloned().collect();
        shown("what is left", &format!("{left:?}"));
        assert_eq!(host.left(&[&service]), nothing);
    });
}
