//! The tree on its way into the library: names, links and attributes, then files in the order of their content.
//!
//! What is remembered here is remembered once for each name of the image, so it is kept small: places in the tree instead of
//! paths, and lists instead of maps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mkext4::{FsBuilder, InodeHandle, Meta as Ext4Meta, ROOT, SpecialKind};

use super::content::segments;
use super::restore::Restore;
use super::standin::StandIns;
use super::wanted::{Wanted, Wanteds};
use super::{LOST_AND_FOUND, PlanError, acl, seconds, size};
use crate::tree::Place;
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
    /// What each node has become.
    declared_as: Vec<State>,
    /// Files with their first name.
    files: Vec<(Stored, NodeId, Place<'a>)>,
    /// Further names.
    links: Vec<(Place<'a>, NodeId)>,
}

/// Where the content of a file comes from: layer and entry.
type Stored = (u32, u32);

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has not been met.
    New,
    /// It is a file that has its first name and waits for its turn.
    Named,
    /// The library knows it.
    Declared(InodeHandle),
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
            declared_as: vec![State::New; tree.len()],
            files: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Everything that is no file: folders before what is in them.
    pub(super) fn names(&mut self) -> Result<(), PlanError> {
        let tree = self.tree;
        let mut outcome = Ok(());
        tree.walk_places(|raw, place, id, _| {
            if outcome.is_ok() {
                let path = EntryPath::parse(raw).map_err(|why| PlanError::other(raw, &why));
                outcome = path.and_then(|path| self.name(&path, place, id));
            }
        });
        outcome
    }

    fn name(&mut self, path: &EntryPath, place: Option<Place<'a>>, id: NodeId) -> Result<(), PlanError> {
        let fail = |error: mkext4::Error| PlanError::other(path.as_bytes(), &error);
        let node = self.tree.node(id);
        let meta = meta(&node.meta);
        let Some(place) = place else {
            self.builder.set_meta(ROOT, meta).map_err(fail)?;
            self.declared_as[id.index()] = State::Declared(ROOT);
            return self.attributes(path.as_bytes(), ROOT, &node.meta);
        };
        if place.folder == Tree::ROOT && place.name == LOST_AND_FOUND {
            // The file system's own takes its place, which nobody notices of an empty folder.
            return match &node.kind {
                NodeKind::Directory(names) if names.is_empty() => Ok(()),
                _ => Err(PlanError::other(
                    path.as_bytes(),
                    &"ext4 has a folder of its own there, and of an image only an empty one can be in its place",
                )),
            };
        }
        if self.declared_as[id.index()] != State::New {
            self.links.push((place, id));
            return Ok(());
        }
        if let NodeKind::File(content) = &node.kind {
            // Later, in the order of their content.
            self.declared_as[id.index()] = State::Named;
            self.files.push(((content.layer, content.entry), id, place));
            return Ok(());
        }
        let (parent, text) = self.parent_and_name(place)?;
        let text = text.as_ref();
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
            NodeKind::File(_) => return Ok(()),
        };
        let handle = handle.map_err(fail)?;
        if self.standins.contains_key(&id) {
            self.numbers.insert(id, FIRST_INODE + self.declared);
        }
        self.declared += 1;
        self.declared_as[id.index()] = State::Declared(handle);
        self.attributes(path.as_bytes(), handle, &node.meta)
    }

    fn handle(&self, id: NodeId) -> Option<InodeHandle> {
        match self.declared_as[id.index()] {
            State::Declared(handle) => Some(handle),
            State::New | State::Named => None,
        }
    }

    /// The folder of a place, and the name in it, or what stands in for that.
    fn parent_and_name(&self, place: Place<'a>) -> Result<(InodeHandle, Cow<'a, str>), PlanError> {
        let gone = || PlanError::other(&self.tree.path_of(place), &"its folder is gone");
        let handle = self.handle(place.folder).ok_or_else(gone)?;
        let text = match std::str::from_utf8(place.name) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let standins = self.standins.get(&place.folder);
                let standin = standins.and_then(|standins| standins.get(place.name));
                Cow::Owned(standin.cloned().ok_or_else(|| PlanError::name(&self.tree.path_of(place)))?)
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
    pub(super) fn files(&mut self) -> Result<Wanteds, PlanError> {
        let tree = self.tree;
        let mut wanted = Wanteds::default();
        let mut files = std::mem::take(&mut self.files);
        files.sort_unstable_by_key(|(at, ..)| *at);
        for (at, id, place) in files {
            let fail = |error: mkext4::Error| PlanError::other(&tree.path_of(place), &error);
            let node = tree.node(id);
            let NodeKind::File(content) = &node.kind else { continue };
            let (parent, name) = self.parent_and_name(place)?;
            let meta = meta(&node.meta);
            let segments =
                content.data.as_ref().map(|map| segments(&size::aligned(map, content.size), content.size));
            let handle = match segments.as_deref() {
                Some(segments @ [_, ..]) => self.builder.file_sparse(parent, &name, meta, segments),
                _ => self.builder.file(parent, &name, meta, content.size),
            };
            let handle = handle.map_err(fail)?;
            self.declared_as[id.index()] = State::Declared(handle);
            if node.meta.xattrs.is_some() {
                self.attributes(&tree.path_of(place), handle, &node.meta)?;
            }
            if content.has_data() {
                wanted.push(at, Wanted { handle, size: content.size, data: content.data.clone() });
            }
        }
        for (place, id) in std::mem::take(&mut self.links) {
            let (parent, name) = self.parent_and_name(place)?;
            let target = self.handle(id);
            let target =
                target.ok_or_else(|| PlanError::other(&tree.path_of(place), &"what it links to is gone"))?;
            self.builder
                .hardlink(parent, &name, target)
                .map_err(|error| PlanError::other(&tree.path_of(place), &error))?;
        }
        Ok(wanted)
    }

    fn attributes(&mut self, path: &[u8], handle: InodeHandle, meta: &Meta) -> Result<(), PlanError> {
        for (name, value) in meta.xattrs.iter().flat_map(|xattrs| xattrs.iter()) {
            let text = std::str::from_utf8(name).map_err(|_| PlanError::name(path))?;
            let converted = if text.starts_with("system.posix_acl_") {
                let acl = acl::to_disk(value);
                Some(acl.ok_or_else(|| PlanError::other(path, &"its access control list is malformed"))?)
            } else {
                None
            };
            self.builder
                .set_xattr(handle, text, converted.as_deref().unwrap_or(value))
                .map_err(|error| PlanError::other(path, &error))?;
        }
        Ok(())
    }
}

fn meta(meta: &Meta) -> Ext4Meta {
    Ext4Meta::new(meta.mode, meta.uid, meta.gid, (seconds(&meta.mtime), meta.mtime.nanos))
}
