//! Processes that are killed, interrupted or meet each other, full disks, and what is no image.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::bed::{Bed, signal};
use crate::process::finish;

/// Enough that a process can be stopped before it is done.
const LARGE: usize = 48 << 20;

#[test]
fn of_two_processes_one_builds_and_both_have_the_file() {
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let first = bed.stopped_in_the_middle();
    let mut second = bed.spawn(&["--output", "json", "build", "image.tar"]);
    // It cannot end: the first one stands still and has the lock.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(second.try_wait().unwrap().is_none());
    signal(&first, Signal::CONT);
    let (first, second) = (finish(first).code(0), finish(second).code(0).json());
    assert!(first.out.contains("made from"), "{first:?}");
    assert_eq!(second["outcome"], "found");
    assert_eq!(first.out.lines().next(), second["rootfs"].as_str());
    assert_eq!(second["sha256"].as_str().unwrap(), bed.digest_of(second["rootfs"].as_str().unwrap()));
    assert_eq!((bed.names(), bed.leftovers()), (1, Vec::new()));
}

#[test]
fn who_waits_says_so_and_can_be_interrupted() {
    use std::io::{BufRead as _, BufReader};
    let bed = Bed::new();
    bed.archive("image.tar", LARGE);
    let first = bed.stopped_in_the_middle();
    let mut second = bed.spawn(&["build", "image.tar"]);
    let says = BufReader::new(second.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(says.into_iter().any(|line| line.contains("another process converts this image")));
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
    assert_eq!(super::bed::files(disk.path()).iter().filter(|name| name.contains("disk")).count(), 0);
    bed.run(&["build", "small.tar"]).code(0);
}

#[test]
fn what_is_no_image_is_said_with_what_to_do() {
    let bed = Bed::new();
    std::fs::write(bed.path("text.tar"), "no archive").unwrap();
    std::fs::create_dir(bed.path("folder")).unwrap();
    bed.archive("image.tar", 4096);
    for (arguments, code, says) in [
        (&["build", "./nowhere.tar"][..], 3, "nowhere.tar"),
        (&["build", "text.tar"], 1, "text.tar"),
        (&["build", "folder"], 1, "folder"),
        (&["build", "docker-archive:image.tar:other:1"], 1, "other:1"),
        (&["build", "docker-archive:"], 2, "a path is missing"),
        (&["build", "image.tar", "--size", "4G"], 2, "such as 4GiB"),
        (&["build", "image.tar", "--writer", "tar"], 2, "tar"),
        (&["build", "image.tar", "--architecture", "s390x"], 2, "not s390x"),
        // Nothing is looked for in a registry unless that was said.
        (&["build", "some/image:1"], 5, "the Docker engine at"),
        (&["inspect", "text.tar"], 1, "text.tar"),
        (&["verify", "0123"], 3, "rootfs list"),
        (&["gc", "--keep", "much"], 2, "such as 4GiB"),
        (&["gc", "--unused-for", "long"], 2, "such as 30d"),
    ] {
        let done = bed.run(arguments);
        assert_eq!(done.code, code, "{arguments:?} {done:?}");
        assert!(done.err.contains(says), "{arguments:?} {done:?}");
    }
    assert_eq!((bed.names(), bed.leftovers()), (0, Vec::new()));
}

#[test]
fn a_size_that_is_too_small_says_the_least_which_fits() {
    let bed = Bed::new();
    bed.archive("image.tar", 4 << 20);
    let small = bed.run(&["build", "image.tar", "--size", "1MiB"]).code(2);
    let (_, least) = small.err.split_once("--size ").unwrap();
    let least: String = least.chars().take_while(char::is_ascii_digit).collect();
    let made = bed.json(&["build", "image.tar", "--size", &least], 0);
    assert_eq!(made["size"].to_string(), least);
    assert_eq!(bed.json(&["verify"], 0)["ok"], true);
}

#[test]
fn a_store_that_cannot_be_used_is_said_with_what_to_do() {
    let bed = Bed::new();
    std::fs::write(bed.path("state"), "a file").unwrap();
    bed.archive("image.tar", 4096);
    for arguments in [&["list"][..], &["build", "image.tar"], &["gc"], &["verify"]] {
        let done = bed.run(arguments).code(1);
        assert!(
            done.err.contains("the store cannot be used") && done.err.contains("--state-dir"),
            "{done:?}"
        );
    }
}
