//! The service killed at every step that the host shows: each time that a file, an interface or a cgroup of a seat comes, goes or is replaced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::host::{Host, all_answer, list};
use crate::isolated;
use crate::process::{Service, finish};

/// More steps than anything here has.
const MOST: usize = 60;
/// As many as there are at least, however many of them pass between two looks.
const LEAST: usize = 6;

/// What there is of a workshop's seats and of their network. A record that was replaced is another one.
fn seen(host: &Host) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    files(&host.state().join("microvm/workshops/demo"), &mut seen);
    for image in fs::read_dir(host.state().join("images")).into_iter().flatten().flatten() {
        files(&image.path().join("pins"), &mut seen);
    }
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap();
    seen.extend(interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()));
    seen.extend(vm_testbed::cgroups(&host.cgroup()).iter().map(|folder| folder.display().to_string()));
    seen
}

fn files(folder: &Path, seen: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // It may go between two looks.
        let Ok(about) = entry.metadata() else { continue };
        seen.insert(format!("{} {}", entry.path().display(), about.ino()));
        if about.is_dir() {
            files(&entry.path(), seen);
        }
    }
}

/// Starts a command and kills the service at the change of this number. False when the command was done before.
fn killed_at(host: &Host, service: &mut Service, arguments: &[&str], step: usize) -> bool {
    let mut before = seen(host);
    let mut client = service.spawn(arguments);
    let mut changes = 0;
    while client.try_wait().unwrap().is_none() {
        let now = seen(host);
        if now != before {
            (before, changes) = (now, changes + 1);
            if changes == step {
                service.kill();
                drop(finish(client));
                return true;
            }
        }
        std::thread::yield_now();
    }
    assert_eq!(finish(client).code, 0, "{arguments:?}");
    false
}

/// What every service finds after one that was killed: the seat that lives, and nothing that is told and not there.
#[track_caller]
fn is_sound(service: &Service, living: &[Value], step: usize) {
    assert_eq!(list(service, "living"), living, "step {step}");
    for seat in list(service, "demo") {
        let status = seat["status"].as_str().unwrap();
        assert!(matches!(status, "starting" | "running"), "step {step}: {seat}");
    }
}

/// Kills the service at each change that a command brings about, once each, and looks at what the next one finds and leaves beside a seat that lives.
/// `before` is done before the command, `after` by the service that comes after a kill, or by the one that was not killed.
fn at_every_step(command: [&str; 4], before: impl Fn(&Service), after: impl Fn(&Service)) {
    let host = Host::new();
    let mut service = host.serve(&[]);
    service.run(&["seat", "create", "living", "1"]).code(0);
    let (living, there) = (list(&service, "living"), host.left(&[&service]));
    let mut step = 0;
    loop {
        step += 1;
        assert!(step < MOST, "there is no end of it");
        before(&service);
        let was_killed = killed_at(&host, &mut service, &command, step);
        if was_killed {
            service = host.serve(&[]);
        }
        is_sound(&service, &living, step);
        after(&service);
        assert_eq!(host.left(&[&service]), there, "step {step}");
        if !was_killed {
            break;
        }
    }
    assert!(step > LEAST, "only {step} steps were seen");
    all_answer(&list(&service, "living"), 1);
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_at_every_step_of_a_create_leaves_nothing() {
    isolated!(a_service_killed_at_every_step_of_a_create_leaves_nothing, || {
        at_every_step(
            ["seat", "create", "demo", "1"],
            |_| {},
            |service| {
                service.run(&["class", "down", "demo"]).code(0);
            },
        );
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_at_every_step_of_a_destroy_finishes_it() {
    isolated!(a_service_killed_at_every_step_of_a_destroy_finishes_it, || {
        let made = |service: &Service| drop(service.run(&["seat", "create", "demo", "1"]).code(0));
        at_every_step(["seat", "destroy", "demo", "1"], made, |service| {
            let left = list(service, "demo");
            // What was begun has been finished before it listened. Before the record says so it is not begun.
            if !left.is_empty() {
                all_answer(&left, 1);
                service.run(&["class", "down", "demo"]).code(0);
            }
        });
    });
}
