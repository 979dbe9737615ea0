//! Processes that are stopped in the middle, killed, interrupted, or meet each other; full disks.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::bed::{Bed, files, signal};
use crate::process::finish;

/// Enough that a process can be stopped before it is done.
const LARGE: usize = 48 << 20;

/// What one says that waits.
const WAITS: &str = "another process converts this image";

const PARTIAL: &str = ".disk.ext4.";

#[test]
fn of_two_processes_one_builds_and_both_have_the_file() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let first = bed.stopped_in_the_middle();
    let mut second = bed.spawn(&["build", "image.tar"]);
    // The first one stands still and has the lock: all that the second can do is wait.
    let mut says = BufReader::new(second.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(says.any(|line| line.contains(WAITS)));
    signal(&first, Signal::CONT);
    let (first, second) = (finish(first).code(0), finish(second).code(0));
    assert!(first.out.contains("made from") && second.out.contains("it was there"), "{first:?} {second:?}");
    assert_eq!(first.out.lines().next(), second.out.lines().next());
    assert_eq!(bed.json(&["verify"], 0)["ok"], true);
    assert_eq!((bed.names(), bed.leftovers()), (1, Vec::new()));
}

#[test]
fn who_waits_says_so_and_can_be_interrupted() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let first = bed.stopped_in_the_middle();
    let mut second = bed.spawn(&["build", "image.tar"]);
    let mut says = BufReader::new(second.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(says.any(|line| line.contains(WAITS)));
    signal(&second, Signal::INT);
    assert_eq!(second.wait().unwrap().code(), Some(1));
    // What the other one is making is still there.
    assert!(!bed.leftovers().is_empty());
    signal(&first, Signal::CONT);
    finish(first).code(0);
    assert_eq!((bed.names(), bed.leftovers()), (1, Vec::new()));
}

#[test]
fn who_is_interrupted_leaves_nothing() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let build = bed.stopped_in_the_middle();
    signal(&build, Signal::INT);
    signal(&build, Signal::CONT);
    let ended = finish(build).code(1);
    assert!(ended.err.contains("interrupted"), "{ended:?}");
    assert_eq!((bed.names(), bed.leftovers()), (0, Vec::new()));
}

#[test]
fn who_is_killed_leaves_nothing_that_the_next_does_not_remove() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let mut build = bed.stopped_in_the_middle();
    build.kill().unwrap();
    build.wait().unwrap();
    assert!(!bed.leftovers().is_empty());
    assert_eq!(bed.json(&["list"], 0)["entries"].as_array().unwrap().len(), 0);
    assert_eq!(bed.leftovers(), Vec::<String>::new());
    let mut build = bed.stopped_in_the_middle();
    build.kill().unwrap();
    build.wait().unwrap();
    assert_eq!(bed.json(&["build", "image.tar"], 0)["outcome"], "made");
    assert_eq!((bed.names(), bed.leftovers()), (1, Vec::new()));
    assert_eq!(bed.json(&["verify"], 0)["ok"], true);
}

/// A small disk; nothing when it cannot be had.
struct Disk(tempfile::TempDir);

impl Disk {
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        match done {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                eprintln!("skipped: a small disk needs root and mount(8): {other:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left_on_it() {
    let Some(disk) = Disk::new() else { return };
    let bed = Bed::with_state(disk.path());
    bed.archive("large.tar", 16 << 20);
    bed.archive("small.tar", 1 << 20);
    let full = bed.run(&["build", "large.tar"]).code(1);
    assert!(full.err.contains("No space left") && full.err.contains("rootfs gc"), "{full:?}");
    assert_eq!((bed.names(), bed.leftovers()), (0, Vec::new()));
    let out = disk.path().join("disk.ext4");
    bed.run(&["build", "large.tar", "-o", out.to_str().unwrap()]).code(1);
    assert_eq!(files(disk.path()).iter().filter(|name| name.contains("disk")).count(), 0);
    bed.run(&["build", "small.tar"]).code(0);
}

#[test]
fn a_build_that_ends_early_leaves_the_file_that_was_there() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let build = ["build", "image.tar", "-o", "disk.ext4", "--force"];
    let partial = || files(&bed.path("")).iter().filter(|name| name.starts_with(PARTIAL)).count();
    for how in [Signal::INT, Signal::TERM, Signal::KILL] {
        std::fs::write(bed.path("disk.ext4"), "precious").unwrap();
        let child = bed.stopped_at(&build, &bed.path(""), |name| name.starts_with(PARTIAL));
        signal(&child, how);
        signal(&child, Signal::CONT);
        let done = finish(child);
        assert_ne!(done.code, 0, "{how:?} {done:?}");
        assert_eq!(std::fs::read(bed.path("disk.ext4")).unwrap(), b"precious");
        assert_eq!(partial(), usize::from(how == Signal::KILL), "{how:?}");
    }
    bed.run(&build).code(0);
    assert_eq!(partial(), 0);
}
