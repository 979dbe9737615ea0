//! A file system from its image: what is placed, what is told, and what is left after an error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use common::{Layout, layer};
use rootfs::build::{BuildError, Options, build};
use rootfs::source::{Choice, Image};
use rootfs::{Digest, Init, Progress, Quiet, Stage};

fn image(layout: &Layout) -> Image {
    Image::open(layout.path(), &Choice::default()).unwrap()
}

/// What `debugfs` of e2fsprogs says.
fn debugfs(file: &Path, request: &str) -> String {
    let output = Command::new("debugfs").args(["-R", request]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn check(file: &Path) {
    let output = Command::new("e2fsck").arg("-fn").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_digest_is_that_of_the_whole_file() {
    let layout = Layout::new();
    layout.index(&[layout.image(&[layer("a/b", b"content")])]);
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("rootfs.ext4");
    let built = build(&image(&layout), &file, &Options::default(), &Quiet).unwrap();
    assert_eq!(built.sha256, Digest::of(&std::fs::read(&file).unwrap()));
    assert_eq!(built.size, std::fs::metadata(&file).unwrap().len());
    let stages: Vec<_> = built.stages.iter().map(|&(stage, _)| stage).collect();
    assert_eq!(stages, [Stage::Scan, Stage::Layout, Stage::Write, Stage::Sync]);
}

#[test]
fn an_init_program_is_placed_with_what_it_reads() {
    let layout = Layout::new();
    layout.index(&[layout.image(&[layer("a", b"content")])]);
    let out = tempfile::tempdir().unwrap();
    let program = out.path().join("agent");
    std::fs::write(&program, vec![7; 100_000]).unwrap();
    let init = Init::open(&program).unwrap();
    let with = Options { init: Some(init), ..Options::default() };
    let (one, two, plain) = (out.path().join("1"), out.path().join("2"), out.path().join("3"));
    let first = build(&image(&layout), &one, &with, &Quiet).unwrap();
    // The program's own times and modes make no difference.
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o600)).unwrap();
    let second = build(&image(&layout), &two, &with, &Quiet).unwrap();
    assert_eq!(first.sha256, second.sha256);
    check(&one);
    assert_eq!(debugfs(&one, "cat /a"), "content");
    assert_eq!(debugfs(&one, "cat /.clarateach/init").into_bytes(), vec![7; 100_000]);
    let about = debugfs(&one, "stat /.clarateach/init");
    assert!(about.contains("Mode:  0755") && about.contains("User:     0"), "{about}");
    let document: serde_json::Value =
        serde_json::from_str(&debugfs(&one, "cat /.clarateach/image.json")).unwrap();
    assert_eq!(document["config"]["entrypoint"], serde_json::json!(["/init"]));
    assert_eq!(document["image"], image(&layout).id.to_string());

    let bare = build(&image(&layout), &plain, &Options::default(), &Quiet).unwrap();
    assert_eq!((bare.inodes, first.inodes), (2, 5));
    assert!(!debugfs(&plain, "ls -p /").contains(".clarateach"));
}

#[test]
fn an_image_with_that_folder_takes_no_init_program() {
    let layout = Layout::new();
    layout.index(&[layout.image(&[layer(".clarateach/init", b"theirs")])]);
    let out = tempfile::tempdir().unwrap();
    let program = out.path().join("agent");
    std::fs::write(&program, "ours").unwrap();
    let with = Options { init: Some(Init::open(&program).unwrap()), ..Options::default() };
    let error = build(&image(&layout), &out.path().join("fs"), &with, &Quiet).unwrap_err();
    assert!(matches!(error, BuildError::Init(_)), "{error}");
    assert_eq!(names(out.path()), ["agent"]);
    build(&image(&layout), &out.path().join("fs"), &Options::default(), &Quiet).unwrap();
}

/// Puts other bytes into a blob between the first reading and the second.
struct Exchange<'a> {
    blob: &'a Path,
    bytes: Vec<u8>,
    told: Mutex<Vec<Stage>>,
}

impl<'a> Exchange<'a> {
    fn new(blob: &'a Path, bytes: Vec<u8>) -> Self {
        Self { blob, bytes, told: Mutex::default() }
    }
}

impl Progress for Exchange<'_> {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        self.told.lock().unwrap().push(stage);
        if stage == Stage::Write {
            std::fs::write(self.blob, &self.bytes).unwrap();
        }
    }

    fn advance(&self, _: u64) {}
}

#[test]
fn an_image_that_changes_under_way_leaves_nothing() {
    let layout = Layout::new();
    let bytes = layer("a", b"content");
    layout.index(&[layout.image(std::slice::from_ref(&bytes))]);
    let out = tempfile::tempdir().unwrap();
    let blob = layout.blob_path(Digest::of(&bytes));
    let mut ruined = bytes;
    ruined[512] ^= 1;
    let exchange = Exchange::new(&blob, ruined);
    let error = build(&image(&layout), &out.path().join("fs"), &Options::default(), &exchange).unwrap_err();
    assert!(matches!(error, BuildError::Damaged { layer: 0, .. }), "{error}");
    assert!(exchange.told.lock().unwrap().contains(&Stage::Write));
    assert!(names(out.path()).is_empty());
}

/// Names come from the first reading, and what is hashed is the second.
#[test]
fn names_that_are_not_those_of_the_layer_make_no_file_system() {
    let layout = Layout::new();
    let bytes = layer("a", b"content");
    layout.index(&[layout.image(std::slice::from_ref(&bytes))]);
    let out = tempfile::tempdir().unwrap();
    let blob = layout.blob_path(Digest::of(&bytes));
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    header.set_mode(0o4755);
    header.set_cksum();
    let other_mode = [header.as_bytes(), &bytes[512..]].concat();
    let one_more = [&layer("a", b"content")[..1024], &layer("b", b"content")].concat();
    for first in [layer("b", b"content"), other_mode, one_more] {
        std::fs::write(&blob, first).unwrap();
        let exchange = Exchange::new(&blob, bytes.clone());
        let error =
            build(&image(&layout), &out.path().join("fs"), &Options::default(), &exchange).unwrap_err();
        assert!(matches!(error, BuildError::Changed { layer: 0 }), "{error}");
        assert!(names(out.path()).is_empty());
    }
    build(&image(&layout), &out.path().join("fs"), &Options::default(), &Quiet).unwrap();
}

/// A layer of which nothing is left is read for its digest all the same.
#[test]
fn damage_in_what_nothing_is_left_of_is_found() {
    let layout = Layout::new();
    let below = layer("a", &[1; 5000]);
    layout.index(&[layout.image(&[below.clone(), layer("a", b"above")])]);
    let blob = layout.blob_path(Digest::of(&below));
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("fs");
    let mut damaged = below.clone();
    damaged[512 + 4999] ^= 1;
    std::fs::write(&blob, damaged).unwrap();
    let error = build(&image(&layout), &file, &Options::default(), &Quiet).unwrap_err();
    assert!(matches!(error, BuildError::Damaged { layer: 0, .. }), "{error}");
    assert!(names(out.path()).is_empty());
    std::fs::write(&blob, below).unwrap();
    build(&image(&layout), &file, &Options::default(), &Quiet).unwrap();
    assert_eq!(debugfs(&file, "cat /a"), "above");
}
