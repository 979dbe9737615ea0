//! Files that are named by the user.

use rustix::process::Signal;

use super::bed::{Bed, files, signal};
use crate::process::finish;

const PARTIAL: &str = ".disk.ext4.";

#[test]
fn a_file_is_not_overwritten_unless_that_is_said() {
    let bed = Bed::new();
    bed.archive("image.tar", 1 << 20);
    let made = bed.json(&["build", "image.tar", "-o", "disk.ext4"], 0);
    assert_eq!(made["sha256"].as_str().unwrap(), bed.digest_of("disk.ext4"));
    assert!(bed.path("disk.image.json").exists());
    // What the store would have is the same file.
    assert_eq!(bed.json(&["build", "image.tar"], 0)["sha256"], made["sha256"]);

    std::fs::write(bed.path("disk.ext4"), "precious").unwrap();
    let refused = bed.run(&["build", "image.tar", "-o", "disk.ext4"]).code(4);
    assert!(refused.err.contains("--force"), "{refused:?}");
    assert_eq!(std::fs::read(bed.path("disk.ext4")).unwrap(), b"precious");
    bed.run(&["build", "image.tar", "-o", "disk.ext4", "--force"]).code(0);
    assert_eq!(made["sha256"].as_str().unwrap(), bed.digest_of("disk.ext4"));
    bed.run(&["build", "image.tar", "-o", "."]).code(2);
    bed.run(&["build", "image.tar", "-o", "nowhere/disk.ext4"]).code(3);
    assert!(!files(&bed.path("")).iter().any(|name| name.starts_with(PARTIAL)));
}

#[test]
fn a_build_that_ends_early_leaves_the_file_that_was_there() {
    let bed = Bed::new();
    bed.archive("image.tar", 48 << 20);
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
