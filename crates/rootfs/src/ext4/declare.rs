//! The tree on its way into the library: names, links and attributes, then files in the order of their content.

use std::collections::BTreeMap;

use mkext4::{FsBuilder, InodeHandle, Meta as Ext4Meta, ROOT, SpecialKind};

use super::content::segments;
use super::restore::Restore;
use super::standin::StandIns;
use super::{LOST_AND_FOUND, PlanError, Wanted, acl, seconds, size};
use crate::{EntryPath, Meta, NodeId, NodeKind, Tree};

/// The inode of the root, and the first of those that are numbered as they are declared.
const ROOT_INODE: u32 = 2;
const FIRST_INODE: u32 = 12;

/// The tree on its way into the library.
pub(super) struct Declaring<'a> {
    tree: &'a Tree,
    pub(super) builder: FsBuilder,
    /// Names that stand in for those that the library does not take.
    standins: BTreeMap<NodeId, StandIns>,
    /// How many inodes are declared; the library numbers them in that order.
    declared: u32,
    restore: Restore,
    /// The inodes of folders that have stand-ins.
    numbers: BTreeMap<NodeId, u32>,
    handles: BTreeMap<NodeId, InodeHandle>,
    /// Files by where their content is, with their first name.
    files: BTreeMap<(u32, u32), (NodeId, EntryPath)>,
    /// Further names.
    links: Vec<(EntryPath, NodeId)>,
}

impl<'a> Declaring<'a> {
    pub(super) fn new(tree: &'a Tree, builder: FsBuilder, standins: BTreeMap<NodeId, StandIns>) -> Self {
        Self {
            tree,
            builder,
            standins,
            declared: 0,
            restore: Restore::default(),
            numbers: BTreeMap::from([(Tree::ROOT, ROOT_INODE)]),
            handles: BTreeMap::new(),
            files: BTreeMap::new(),
            links: Vec::new(),
        }
    }

    /// Everything that is no file: folders before what is in them.
    pub(super) fn names(&mut self) -> Result<(), PlanError> {
        let tree = self.tree;
        let mut outcome = Ok(());
        tree.walk(|raw, id, _| {
            if outcome.is_ok() {
                let path = EntryPath::parse(raw).map_err(|why| PlanError::other(raw, &why));
                outcome = path.and_then(|path| self.name(&path, id));
            }
        });
        outcome
    }

    fn name(&mut self, path: &EntryPath, id: NodeId) -> Result<(), PlanError> {
        let fail = |error: mkext4::Error| PlanError::other(path.as_bytes(), &error);
        let node = self.tree.node(id);
        let meta = meta(&node.meta);
        let Some((folder, name)) = path.split() else {
            self.builder.set_meta(ROOT, meta).map_err(fail)?;
            self.handles.insert(id, ROOT);
            return self.attributes(path, ROOT, &node.meta);
        };
        if folder.is_empty() && name == LOST_AND_FOUND {
            // The file system's own takes its place, which nobody notices of an empty folder.
            return match &node.kind {
                NodeKind::Directory(names) if names.is_empty() => Ok(()),
                _ => Err(PlanError::other(
                    path.as_bytes(),
                    &"ext4 has a folder of its own there, and of an image only an empty one can be in its place",
                )),
            };
        }
        let (parent, text) = self.place(path)?;
        let text = text.as_str();
        if self.handles.contains_key(&id) || self.is_file_named(id) {
            self.links.push((path.clone(), id));
            return Ok(());
        }
        let handle = match &node.kind {
            NodeKind::Directory(_) => self.builder.mkdir(parent, text, meta),
            NodeKind::Symlink(target) => {
                let stand_in;
                let target = match std::str::from_utf8(target) {
                    Ok(target) => target,
                    Err(_) => {
                        self.restore.links.push((FIRST_INODE + self.declared, target.clone()));
                        stand_in = "-".repeat(target.len());
                        &stand_in
                    }
                };
                self.builder.symlink(parent, text, target, meta)
            }
            NodeKind::CharDevice(device) => {
                let kind = SpecialKind::Char { major: device.major, minor: device.minor };
                self.builder.mknod(parent, text, meta, kind)
            }
            NodeKind::BlockDevice(device) => {
                let kind = SpecialKind::Block { major: device.major, minor: device.minor };
                self.builder.mknod(parent, text, meta, kind)
            }
            NodeKind::Fifo => self.builder.mknod(parent, text, meta, SpecialKind::Fifo),
            NodeKind::File(content) => {
                // Later, in the order of their content.
                self.files.insert((content.layer, content.entry), (id, path.clone()));
                return Ok(());
            }
        };
        let handle = handle.map_err(fail)?;
        if self.standins.contains_key(&id) {
            self.numbers.insert(id, FIRST_INODE + self.declared);
        }
        self.declared += 1;
        self.handles.insert(id, handle);
        self.attributes(path, handle, &node.meta)
    }

    fn is_file_named(&self, id: NodeId) -> bool {
        match &self.tree.node(id).kind {
            NodeKind::File(content) => self.files.contains_key(&(content.layer, content.entry)),
            _ => false,
        }
    }

    /// The folder of a path, and the name in it, or what stands in for that.
    fn place(&self, path: &EntryPath) -> Result<(InodeHandle, String), PlanError> {
        let gone = || PlanError::other(path.as_bytes(), &"its folder is gone");
        let (folder, name) = path.split().ok_or_else(gone)?;
        let mut id = Tree::ROOT;
        for name in folder.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            id = self.tree.child(id, name).ok_or_else(gone)?;
        }
        let handle = self.handles.get(&id).copied().ok_or_else(gone)?;
        let text = match std::str::from_utf8(name) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                let standin = self.standins.get(&id).and_then(|standins| standins.get(name));
                standin.cloned().ok_or_else(|| PlanError::Name(path.clone()))?
            }
        };
        Ok((handle, text))
    }

    /// What the library was told otherwise than it is.
    pub(super) fn restored(&mut self) -> Restore {
        let mut restore = std::mem::take(&mut self.restore);
        for (id, standins) in std::mem::take(&mut self.standins) {
            let names = standins.into_iter().map(|(real, standin)| (standin.into_bytes(), real)).collect();
            restore.folders.extend(self.numbers.get(&id).map(|&ino| (ino, names)));
        }
        restore
    }

    /// The files, in the order in which their content is stored, and then every further name.
    pub(super) fn files(&mut self) -> Result<BTreeMap<(u32, u32), Wanted>, PlanError> {
        let mut wanted = BTreeMap::new();
        for (at, (id, path)) in std::mem::take(&mut self.files) {
            let node = self.tree.node(id);
            let NodeKind::File(content) = &node.kind else { continue };
            let (parent, name) = self.place(&path)?;
            let name = name.as_str();
            let meta = meta(&node.meta);
            let segments =
                content.data.as_ref().map(|map| segments(&size::aligned(map, content.size), content.size));
            let handle = match segments.as_deref() {
                Some(segments @ [_, ..]) => self.builder.file_sparse(parent, name, meta, segments),
                _ => self.builder.file(parent, name, meta, content.size),
            };
            let handle = handle.map_err(|error| PlanError::other(path.as_bytes(), &error))?;
            self.handles.insert(id, handle);
            self.attributes(&path, handle, &node.meta)?;
            if content.has_data() {
                wanted.insert(at, Wanted { handle, content: content.clone() });
            }
        }
        for (path, id) in std::mem::take(&mut self.links) {
            let (parent, name) = self.place(&path)?;
            let target = self.handles.get(&id).copied();
            let target =
                target.ok_or_else(|| PlanError::other(path.as_bytes(), &"what it links to is gone"))?;
            self.builder
                .hardlink(parent, &name, target)
                .map_err(|error| PlanError::other(path.as_bytes(), &error))?;
        }
        Ok(wanted)
    }

    fn attributes(&mut self, path: &EntryPath, handle: InodeHandle, meta: &Meta) -> Result<(), PlanError> {
        for (name, value) in meta.xattrs.iter().flat_map(|xattrs| xattrs.iter()) {
            let text = std::str::from_utf8(name).map_err(|_| PlanError::Name(path.clone()))?;
            let converted = if text.starts_with("system.posix_acl_") {
                let acl = acl::to_disk(value);
                Some(acl.ok_or_else(|| {
                    PlanError::other(path.as_bytes(), &"its access control list is malformed")
                })?)
            } else {
                None
            };
            self.builder
                .set_xattr(handle, text, converted.as_deref().unwrap_or(value))
                .map_err(|error| PlanError::other(path.as_bytes(), &error))?;
        }
        Ok(())
    }
}

fn meta(meta: &Meta) -> Ext4Meta {
    Ext4Meta::new(meta.mode, meta.uid, meta.gid, (seconds(&meta.mtime), meta.mtime.nanos))
}
