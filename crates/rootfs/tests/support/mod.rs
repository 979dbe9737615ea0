//! What the tests of sources share.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod image;
pub mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs::build::{Options, build};
use rootfs::source::Image;
use rootfs::{Digest, Progress, Quiet, Stage};

/// What a `docker` command prints; it must succeed.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
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

/// A small file system, gone when it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(folder: &Path, kilobytes: u32) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
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

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}
