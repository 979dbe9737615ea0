//! The folder that `mke2fs -d` reads: names, links and content, nothing of owners and times.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::{Content, Device, NodeId, NodeKind, Tree, ext4};

/// Content by layer and entry, and where it belongs.
pub(super) type Wanted<'t> = BTreeMap<(u32, u32), (PathBuf, &'t Content)>;

/// A folder beside the file, which is removed when this is dropped.
pub(super) struct Stage(PathBuf);

impl Stage {
    /// Makes it; only its owner may enter.
    pub(super) fn new(file: &Path) -> io::Result<Self> {
        let place = std::path::absolute(super::super::stage(file))?;
        DirBuilder::new().mode(0o700).create(&place)?;
        let stage = Self(place);
        DirBuilder::new().mode(0o700).create(stage.root())?;
        Ok(stage)
    }

    /// What becomes the root of the file system.
    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// A place for something else.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes everything of a tree but the content of files, and says where that belongs. Folders of the tree are folders
    /// here, and links are never on the way to anything, so nothing is made elsewhere.
    pub(super) fn names<'t>(&self, tree: &'t Tree) -> io::Result<Wanted<'t>> {
        let mut paths = Vec::new();
        tree.walk(|path, id, _| paths.push((path.to_vec(), id)));
        let mut wanted = BTreeMap::new();
        let mut firsts: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
        for (path, id) in paths {
            if path.is_empty() || path == ext4::LOST_AND_FOUND {
                continue;
            }
            let place = self.root().join(OsStr::from_bytes(&path));
            if let Some(first) = firsts.get(&id) {
                std::fs::hard_link(first, &place)?;
                continue;
            }
            match &tree.node(id).kind {
                NodeKind::Directory(_) => DirBuilder::new().mode(0o700).create(&place)?,
                NodeKind::Symlink(target) => symlink(OsStr::from_bytes(target), &place)?,
                NodeKind::CharDevice(device) => special(&place, FileType::CharacterDevice, *device)?,
                NodeKind::BlockDevice(device) => special(&place, FileType::BlockDevice, *device)?,
                NodeKind::Fifo => special(&place, FileType::Fifo, Device { major: 0, minor: 0 })?,
                NodeKind::File(content) => {
                    File::create_new(&place)?.set_len(content.size)?;
                    wanted.insert((content.layer, content.entry), (place.clone(), content));
                }
            }
            firsts.insert(id, place);
        }
        Ok(wanted)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What led here is told already, and there is no more to do about it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn special(place: &Path, kind: FileType, device: Device) -> io::Result<()> {
    let device = makedev(device.major, device.minor);
    mknodat(CWD, place, kind, Mode::RUSR | Mode::WUSR, device).map_err(|error| match error {
        rustix::io::Errno::PERM => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "only root may make devices, which the writer mke2fs needs for this image; use the writer mkext4",
        ),
        error => error.into(),
    })
}
