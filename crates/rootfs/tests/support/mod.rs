//! What the tests of sources share.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod image;
pub mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use rootfs::build::{Options, build};
use rootfs::source::Image;
use rootfs::{Digest, Progress, Quiet, Stage};

/// What a `docker` command prints; it must succeed.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An image in a file, as the engine writes it.
pub fn saved(image: &str, folder: &Path) -> PathBuf {
    let file = folder.join("image.tar");
    docker(&["save", "--output", file.to_str().unwrap(), image]);
    file
}

/// The digest of the file that an image becomes.
pub fn built(image: &Image) -> Digest {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rootfs.ext4");
    build(image, &file, &Options::default(), &Quiet).unwrap();
    Digest::of(&std::fs::read(file).unwrap())
}

pub fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// How many files of a folder this process holds open, with a name or without one (Linux).
pub fn held_open(folder: &Path) -> usize {
    let folder = folder.canonicalize().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|one| std::fs::read_link(one.unwrap().path()).ok())
        .filter(|target| target.starts_with(&folder) && *target != folder)
        .count()
}

/// Fills a disk as soon as an image begins to come: there was room a moment before.
pub struct FillsUp(pub PathBuf);

impl FillsUp {
    pub fn file(&self) -> PathBuf {
        self.0.join("somebody's")
    }
}

impl Progress for FillsUp {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        assert_eq!(stage, Stage::Fetch);
        let mut file = std::fs::File::create(self.file()).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn advance(&self, _: u64) {}
}

/// Remembers what it is told while an image comes: how much that is in all, and how much came.
#[derive(Default)]
pub struct Heard(pub Mutex<(Option<u64>, u64)>);

impl Progress for Heard {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        assert_eq!(stage, Stage::Fetch);
        self.0.lock().unwrap().0 = total;
    }

    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().1 += bytes;
    }
}
