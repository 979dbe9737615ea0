//! Processes that are stopped in the middle, killed, interrupted, or meet each other; full disks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use vm_testbed::{Need, SmallDisk, can_run};

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

#[test]
fn a_disk_without_room_is_said_and_nothing_is_written_on_it() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let disk = SmallDisk::new(8 << 10).unwrap();
    let bed = Bed::with_state(disk.path());
    bed.archive("large.tar", 16 << 20);
    bed.archive("small.tar", 1 << 20);
    let full = bed.run(&["build", "large.tar"]).code(1);
    assert!(full.err.contains("there is no room in") && full.err.contains("rootfs gc"), "{full:?}");
    assert!(!full.err.contains("writing content"), "{full:?}");
    assert_eq!((bed.names(), bed.leftovers()), (0, Vec::new()));
    let out = disk.path().join("disk.ext4");
    bed.run(&["build", "large.tar", "-o", out.to_str().unwrap()]).code(1);
    assert_eq!(files(disk.path()).iter().filter(|name| name.contains("disk")).count(), 0);
    bed.run(&["build", "small.tar"]).code(0);
}

#[test]
fn a_disk_that_fills_up_meanwhile_is_said_and_nothing_is_left_on_it() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let disk = SmallDisk::new(80 << 10).unwrap();
    let bed = Bed::with_state(disk.path());
    bed.archive("image.tar", LARGE);
    let build = bed.stopped_in_the_middle();
    let others = disk.path().join("others");
    let mut file = std::fs::File::create(&others).unwrap();
    while file.write_all(&[1; 1 << 16]).is_ok() {}
    drop(file);
    signal(&build, Signal::CONT);
    let full = finish(build).code(1);
    assert!(full.err.contains("No space left") && full.err.contains("rootfs gc"), "{full:?}");
    assert_eq!((bed.names(), bed.leftovers()), (0, Vec::new()));
    std::fs::remove_file(others).unwrap();
    bed.run(&["build", "image.tar"]).code(0);
}

/// Starts a build whose `mke2fs` never ends, and waits until that runs.
fn with_a_program_that_hangs(bed: &Bed, arguments: &[&str]) -> (Child, Hanging) {
    let programs = bed.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let (program, runs) = (programs.join("mke2fs"), programs.join("runs"));
    let _ = std::fs::remove_file(&runs);
    let (new, place) = (programs.join("new").display().to_string(), runs.display().to_string());
    let text = format!("#!/bin/sh\necho $$ > '{new}' && mv '{new}' '{place}'\nexec sleep 3600\n");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    let child = bed.spawn_with(arguments, ("PATH", &path));
    bed.wait_for(|| runs.exists());
    let pid: i32 = std::fs::read_to_string(&runs).unwrap().trim().parse().unwrap();
    let program = Hanging(Pid::from_raw(pid).unwrap());
    bed.wait_for(|| program.runs());
    (child, program)
}

/// A program that does not end by itself; the test ends it.
struct Hanging(Pid);

impl Hanging {
    /// One that is only waited for by nobody has no words any more.
    fn runs(&self) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", self.0)).is_ok_and(|words| words.starts_with(b"sleep"))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        if self.runs() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

#[rstest]
#[case::killed(Signal::KILL)]
#[case::interrupted(Signal::INT)]
fn a_program_of_the_reference_writer_ends_with_the_build(#[case] how: Signal) {
    let bed = Bed::new();
    bed.archive("image.tar", 1 << 20);
    let (mut build, program) = with_a_program_that_hangs(&bed, &["build", "image.tar", "--writer", "mke2fs"]);
    signal(&build, how);
    assert!(!build.wait().unwrap().success());
    bed.wait_for(|| !program.runs());
    // The next command finds what is left, also what is beside the file.
    assert_eq!(bed.json(&["list"], 0)["entries"].as_array().unwrap().len(), 0);
    assert_eq!(bed.leftovers(), Vec::<String>::new());

    let into_file = ["build", "image.tar", "--writer", "mke2fs", "-o", "disk.ext4"];
    let (mut build, program) = with_a_program_that_hangs(&bed, &into_file);
    let partial = || files(&bed.path("")).into_iter().filter(|name| name.starts_with(PARTIAL)).count();
    assert!(partial() > 1, "a file and a folder");
    signal(&build, how);
    assert!(!build.wait().unwrap().success());
    bed.wait_for(|| !program.runs());
    bed.run(&["build", "image.tar", "-o", "disk.ext4"]).code(0);
    assert_eq!(partial(), 0);
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
