//! An image of the engine, converted.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use mkext4::reader::Fs;
use rootfs::build::{Options, build, tree};
use rootfs::source::{Choice, Image};
use rootfs::{Digest, Limits, NodeId, NodeKind, Quiet};
use tempfile::TempDir;

use super::listing::{self, Row, hex};
use super::{Rows, docker, tool};

/// The inode of the root (`EXT4_ROOT_INO`, fs/ext4/ext4.h of the kernel).
const ROOT: u32 = 2;

/// An image and its file system, in a folder that goes away with it.
pub(super) struct Converted {
    name: String,
    folder: TempDir,
    image: Image,
    sha256: Digest,
}

impl Converted {
    pub(super) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let saved = folder.path().join("image.tar");
        docker(&["save", "--output", saved.to_str().unwrap(), name]);
        let image = Image::open(&saved, &Choice::default()).unwrap();
        let built = build(&image, &folder.path().join("root.ext4"), &Options::default(), &Quiet).unwrap();
        Self { name: name.to_owned(), folder, image, sha256: built.sha256 }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("root.ext4")
    }

    pub(super) fn check(&self) {
        let checked = tool("e2fsck").arg("-fn").arg(self.file()).output().unwrap();
        assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    }

    /// Builds it once more: the same bytes, by what the builds say and by `sha256sum`.
    pub(super) fn build_again(&self) {
        let other = self.folder.path().join("other.ext4");
        let again = build(&self.image, &other, &Options::default(), &Quiet).unwrap();
        assert_eq!(again.sha256, self.sha256);
        let sums = Command::new("sha256sum").arg(self.file()).arg(&other).output().unwrap();
        let sums = String::from_utf8(sums.stdout).unwrap();
        let sums: Vec<_> = sums.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(sums.len(), 2);
        assert!(sums.iter().all(|sum| self.sha256.to_string().ends_with(sum)), "{sums:?} {}", self.sha256);
        std::fs::remove_file(other).unwrap();
    }

    /// What the engine itself makes of the image: one archive without layers.
    pub(super) fn exported(&self) -> PathBuf {
        let file = self.folder.path().join("export.tar");
        let container = docker(&["create", &self.name, "true"]);
        docker(&["export", "--output", file.to_str().unwrap(), &container]);
        docker(&["rm", "--volumes", &container]);
        file
    }

    /// The merged tree, with the content that the file system has.
    pub(super) fn rows(&self) -> Rows {
        let fs = Fs::open(File::open(self.file()).unwrap()).unwrap();
        let tree = tree(&self.image, &Limits::default()).unwrap();
        let mut names: HashMap<NodeId, Vec<Vec<u8>>> = HashMap::new();
        tree.walk(|path, id, _| names.entry(id).or_default().push(path.to_vec()));
        let mut rows = BTreeMap::new();
        tree.walk(|path, id, node| {
            let inode = || {
                let names = path.split(|&byte| byte == b'/');
                names.fold(ROOT, |folder, name| fs.lookup(folder, name).unwrap().unwrap())
            };
            let (kind, what) = match &node.kind {
                NodeKind::Directory(_) => ("folder", String::new()),
                NodeKind::File(_) => {
                    let digest = Digest::of(&fs.read_file(inode()).unwrap()).to_string();
                    ("file", digest.trim_start_matches("sha256:").to_owned())
                }
                NodeKind::Symlink(_) => ("symlink", hex(&fs.symlink_target(inode()).unwrap())),
                NodeKind::CharDevice(device) => ("char", format!("{}:{}", device.major, device.minor)),
                NodeKind::BlockDevice(device) => ("block", format!("{}:{}", device.major, device.minor)),
                NodeKind::Fifo => ("fifo", String::new()),
            };
            let twin = match names[&id].as_slice() {
                several @ [_, _, ..] => several.iter().min().map(|name| hex(name)).unwrap_or_default(),
                _ => String::new(),
            };
            let meta = &node.meta;
            let xattrs = meta.xattrs.iter().flat_map(|all| all.iter());
            let row = Row {
                kind: kind.to_owned(),
                mode: meta.mode.into(),
                uid: meta.uid,
                gid: meta.gid,
                seconds: meta.mtime.seconds,
                nanos: meta.mtime.nanos,
                what,
                xattrs: xattrs.map(|(name, value)| (hex(name), hex(value))).collect(),
                twin,
            };
            rows.insert(path.to_vec(), row);
        });
        rows
    }

    /// What the kernel sees. The mount is in a namespace of its own and is gone with it.
    pub(super) fn mounted(&self) -> Rows {
        let place = self.folder.path().join("mounted");
        std::fs::create_dir(&place).unwrap();
        let steps = "mount -o ro,loop,noload \"$1\" \"$2\" && exec python3 -IB \"$3\" folder \"$2\"";
        let mut command = tool("unshare");
        command.args(["--mount", "sh", "-c", steps, "sh"]);
        listing::parsed(&command.arg(self.file()).arg(place).arg(listing::script()).output().unwrap())
    }
}

/// Whether this process may mount a file system from a file.
pub(super) fn can_mount() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let made =
        tool("mke2fs").args(["-q", "-t", "ext4"]).arg(&file).output().map_err(|error| error.to_string())?;
    if !made.status.success() {
        return Err(format!("mke2fs: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let mut command = tool("unshare");
    command.args(["--mount", "mount", "-o", "ro,loop"]).arg(&file).arg(folder.path());
    let output = command.output().map_err(|error| format!("unshare: {error}"))?;
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
