//! The service killed at every step that the host shows: each time that a file, an interface or a cgroup of a seat comes, goes or is replaced.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::host::{Host, PATIENT, all_answer, list};
use crate::isolated;
use crate::process::{Service, finish};
use crate::snapshot::{AUTO, restored};

/// More steps than anything here has.
const MOST: usize = 150;
/// As many as there are at least, however many of them pass between two looks.
const LEAST: usize = 6;

/// Whose service is killed, and when.
struct Trial<'a> {
    /// How services are started.
    flags: &'a [&'a str],
    /// What is asked of them.
    command: &'a [&'a str],
    /// From when on steps are counted: those before are another trial's.
    has_begun: fn(&BTreeSet<String>) -> bool,
}

/// What there is of a workshop's seats, of their network, and of snapshots. A record that was replaced is another one.
fn seen(host: &Host) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    files(&host.state().join("microvm/snapshots"), &mut seen);
    files(&host.state().join("microvm/workshops/demo"), &mut seen);
    for image in fs::read_dir(host.state().join("images")).into_iter().flatten().flatten() {
        files(&image.path().join("pins"), &mut seen);
    }
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap();
    seen.extend(interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()));
    seen.extend(vm_testbed::cgroups(&host.cgroup()).iter().map(|folder| folder.display().to_string()));
    seen
}

/// The files of the snapshots that are finished: those that are not have more behind their names, and are counted as left.
fn finished(host: &Host) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for snapshot in fs::read_dir(host.state().join("microvm/snapshots")).unwrap().flatten() {
        if snapshot.path().extension().is_none() {
            files(&snapshot.path(), &mut found);
        }
    }
    found
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

/// Asks for something and kills the service at the change of this number. False when it was done before.
fn killed_at(host: &Host, service: &mut Service, trial: &Trial<'_>, step: usize) -> bool {
    let mut before = seen(host);
    let mut client = service.spawn(trial.command);
    let (mut has_begun, mut changes) = (false, 0);
    while client.try_wait().unwrap().is_none() {
        let now = seen(host);
        if now != before {
            has_begun |= (trial.has_begun)(&now);
            (before, changes) = (now, changes + usize::from(has_begun));
            if changes == step {
                service.kill();
                drop(finish(client));
                return true;
            }
        }
        std::thread::yield_now();
    }
    assert_eq!(finish(client).code, 0, "{:?}", trial.command);
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
fn at_every_step(trial: &Trial<'_>, before: impl Fn(&Host, &mut Service), after: impl Fn(&Host, &Service)) {
    let host = Host::new();
    let mut service = host.serve(trial.flags);
    service.run(&["seat", "create", "living", "1", PATIENT]).code(0);
    let (living, there) = (list(&service, "living"), host.left(&[&service]));
    let mut step = 0;
    loop {
        step += 1;
        assert!(step < MOST, "there is no end of it");
        before(&host, &mut service);
        let was_killed = killed_at(&host, &mut service, trial, step);
        if was_killed {
            service = host.serve(trial.flags);
        }
        is_sound(&service, &living, step);
        after(&host, &service);
        assert_eq!(host.left(&[&service]), there, "step {step}");
        if !was_killed {
            break;
        }
    }
    assert!(step > LEAST, "only {step} steps were seen");
    all_answer(&list(&service, "living"), 1);
}

/// All that a command does.
fn all(command: &[&str], before: impl Fn(&Service), after: impl Fn(&Service)) {
    let trial = Trial { flags: &[], command, has_begun: |_| true };
    at_every_step(&trial, |_, service| before(service), |_, service| after(service));
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_at_every_step_of_a_create_leaves_nothing() {
    isolated!(a_service_killed_at_every_step_of_a_create_leaves_nothing, || {
        all(
            &["seat", "create", "demo", "1", PATIENT],
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
        let made = |service: &Service| drop(service.run(&["seat", "create", "demo", "1", PATIENT]).code(0));
        all(&["seat", "destroy", "demo", "1"], made, |service| {
            let left = list(service, "demo");
            // What was begun has been finished before it listened. Before the record says so it is not begun.
            if !left.is_empty() {
                all_answer(&left, 1);
                service.run(&["class", "down", "demo"]).code(0);
            }
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_service_killed_at_every_step_of_a_snapshot_leaves_a_whole_one_or_nothing() {
    isolated!(a_service_killed_at_every_step_of_a_snapshot_leaves_a_whole_one_or_nothing, || {
        let up = ["--output", "json", "class", "up", "demo", "--seats", "1"];
        let trial = Trial {
            flags: &[AUTO],
            command: &up,
            // What comes before the disks of the guest that is saved, every create does.
            has_begun: |seen| seen.iter().any(|path| path.contains("/demo/1/nobody ")),
        };
        let without_snapshots = |host: &Host, service: &mut Service| {
            let folder = host.state().join("microvm/snapshots");
            if fs::read_dir(&folder).unwrap().next().is_some() {
                // What a service has open it goes on from, whatever is on the disk.
                service.kill();
                fs::remove_dir_all(&folder).unwrap();
                *service = host.serve(trial.flags);
            }
        };
        let whole = Cell::new(0);
        at_every_step(&trial, without_snapshots, |host, service| {
            service.run(&["class", "down", "demo"]).code(0);
            // What is finished is good to go on from.
            let there = finished(host);
            if !there.is_empty() {
                let up = service.run(&up).code(0).json();
                assert!(restored(&up["seats"][0]), "{up}");
                assert_eq!(finished(host), there, "another one was made");
                service.run(&["class", "down", "demo"]).code(0);
                whole.set(whole.get() + 1);
            }
        });
        // That of the service that was not killed, and of some that were killed after it was made.
        assert!(whole.get() > 1, "{} were whole", whole.get());
    });
}
