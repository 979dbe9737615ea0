//! The disk of the state folder full, and records that say nothing.

use std::fs;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::host::{Host, REMEMBERS, all_answer, curl, list, said, until};
use crate::isolated;
use crate::process::finish;

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_full_disk_refuses_new_seats_and_leaves_those_that_live_alone() {
    isolated!(a_full_disk_refuses_new_seats_and_leaves_those_that_live_alone, || {
        let host = Host::on_a_disk_of(64);
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        let create = |number| ["seat", "create", "demo", number, "--image", REMEMBERS];
        service.run(&create("1")).code(0);
        let before = list(&service, "demo");
        let filler = host.state().join("filler");
        let fill = || {
            let of = format!("of={}", filler.display());
            let filled = Command::new("dd").args(["if=/dev/zero", "bs=4096", &of]).output().unwrap();
            assert!(!filled.status.success(), "the disk did not fill up");
        };

        // Refused before disks are made, or because nothing can be written at all; everything is as it was.
        fill();
        {
            let file = fs::File::options().write(true).open(&filler).unwrap();
            file.set_len(file.metadata().unwrap().len() - (8 << 20)).unwrap();
        }
        let busy = host.left(&[&service]);
        let refused = service.run(&create("2")).code(5);
        assert!(refused.err.contains("microvm.least_free_mib is 16"), "{refused:?}");
        assert_eq!(host.left(&[&service]), busy);
        service.kill();
        fill();
        service = host.serve(&["--microvm-least-free-mib=0"]);
        let refused = service.run(&create("2")).code(5);
        assert!(refused.err.contains("the host has no room for seat"), "{refused:?}");
        assert_eq!(host.left(&[&service]), busy);
        assert_eq!(list(&service, "demo"), before);
        all_answer(&before, 1);

        // A seat that writes waits for room; that is told, and once there is some it goes on as if nothing had been.
        let fill = format!("http://{}:3001/cgi-bin/fill", before[0]["ip"].as_str().unwrap());
        let mut writing = Command::new("curl");
        writing.args(["-s", "-m", "600", &fill]).stdout(std::process::Stdio::piped());
        let writing = writing.stderr(std::process::Stdio::piped()).spawn().unwrap();
        until("a seat that waits", || list(&service, "demo")[0]["status"] == "error");
        let waits = list(&service, "demo");
        assert!(waits[0]["reason"].as_str().unwrap().contains("free space on the host's disk"), "{waits:?}");
        fs::remove_file(&filler).unwrap();
        let written = finish(writing).code(0);
        assert!(written.out.contains("ended 0"), "{written:?}");
        until("a seat that runs", || list(&service, "demo")[0]["status"] == "running");
        assert_eq!(list(&service, "demo"), before);
        service.run(&create("2")).code(0);
        all_answer(&list(&service, "demo"), 2);
        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_record_that_says_nothing_is_told_and_its_seat_destroyed_on_request() {
    isolated!(a_record_that_says_nothing_is_told_and_its_seat_destroyed_on_request, || {
        let host = Host::new();
        let mut service = host.serve(&[]);
        let nothing = host.left(&[&service]);
        service.run(&["class", "up", "demo", "--seats", "2"]).code(0);
        let ip = list(&service, "demo")[0]["ip"].as_str().unwrap().to_owned();
        service.kill();
        let record = |seat: &str| host.state().join("microvm/workshops/demo").join(seat).join("seat.json");
        let text = fs::read(record("1")).unwrap();
        fs::write(record("1"), &text[..text.len() / 2]).unwrap();
        let newer = json!({"schema": 99, "of a version": "to come"}).to_string();
        fs::write(record("2"), &newer).unwrap();

        let service = host.serve(&[]);
        let listed = list(&service, "demo");
        for (seat, word) in [(0, "damaged"), (1, "newer version")] {
            assert_eq!(listed[seat]["status"], "error", "{listed:?}");
            assert!(listed[seat]["reason"].as_str().unwrap().contains(word), "{listed:?}");
        }
        // Left alone, whatever is asked of them but to go: what runs for them runs on.
        assert_ne!(service.run(&["class", "up", "demo", "--seats", "3"]).code, 0);
        assert_ne!(service.run(&["class", "down", "demo", "--keep-data"]).code, 0);
        assert_eq!(fs::read_to_string(record("2")).unwrap(), newer);
        assert!(curl(&format!("http://{ip}:3001/health")).is_some());
        service.run(&["seat", "destroy", "demo", "2"]).code(0);

        // One whose machine has ended has its port, so its address is nobody else's, and its end is no other's.
        kill_process(host.monitor("demo/1"), Signal::KILL).unwrap();
        let run = host.state().join("microvm/workshops/demo/1/run");
        until("a machine that has ended", || !run.join("vmm.json").exists());
        service.run(&["seat", "create", "demo", "3"]).code(0);
        let beside =
            || list(&service, "demo").into_iter().filter(|seat| seat["seat"] == 3).collect::<Vec<_>>();
        assert_ne!(beside()[0]["ip"], ip.as_str());
        service.run(&["seat", "destroy", "demo", "1"]).code(0);
        let ip = beside()[0]["ip"].as_str().unwrap().to_owned();
        let neighbours = said("ip", &["neigh", "show", "nud", "permanent"]);
        assert!(neighbours.contains(&format!("{ip} ")), "{neighbours}");
        all_answer(&beside(), 1);
        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(list(&service, "demo"), [] as [Value; 0]);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
