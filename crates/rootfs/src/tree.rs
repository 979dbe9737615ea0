//! The files of an image as one tree, without their content.
//!
//! Nodes live in one vector and name each other by number; a name that goes away leaves its node behind, unreachable.
//! So many nodes there can be as the layers have entries, which [`Limits`](crate::Limits) bounds.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{Content, Device, Meta};

/// The number of a node in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'t> {
    pub(crate) folder: NodeId,
    pub(crate) name: &'t [u8],
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Owner, mode, times and attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: NodeKind,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A folder with its names, sorted.
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    /// A file.
    File(Content),
    /// A symbolic link.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Bytes of all paths that were ever given, as they are without symbolic links.
    paths: u64,
    /// What was ever held, for [`memory`](crate::memory).
    pub(crate) held: Held,
}

/// Names that were ever given and bytes that were ever kept; what goes away again is not taken off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Names in folders, further names of the same node included.
    pub(crate) names: u64,
    /// Bytes of those.
    pub(crate) name_bytes: u64,
    /// Files with bytes of their own.
    pub(crate) files: u64,
    /// Bytes of attributes, of what links hold, and of the maps of sparse files.
    pub(crate) other_bytes: u64,
}

impl NodeId {
    /// Its place in a list of all nodes.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Tree {
    /// The root.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree of nothing but a root, which belongs to root and everybody may enter.
    #[must_use]
    pub fn new() -> Self {
        let meta = Meta { mode: 0o755, ..Meta::default() };
        Self { nodes: vec![Node::directory(meta)], paths: 0, held: Held::default() }
    }

    /// How many nodes there are, those that lost their last name included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The names of a folder; nothing for what is no folder.
    #[must_use]
    pub fn children(&self, id: NodeId) -> Option<&BTreeMap<Box<[u8]>, NodeId>> {
        match &self.node(id).kind {
            NodeKind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// What a folder has under a name.
    #[must_use]
    pub fn child(&self, folder: NodeId, name: &[u8]) -> Option<NodeId> {
        self.children(folder)?.get(name).copied()
    }

    /// The layers that have content of the tree, from 0.
    #[must_use]
    pub fn layers(&self) -> BTreeSet<u32> {
        let mut layers = BTreeSet::new();
        self.walk(|_, _, node| {
            if let NodeKind::File(content) = &node.kind
                && content.size > 0
            {
                layers.insert(content.layer);
            }
        });
        layers
    }

    /// Counts a path of so many bytes, and says how many there are in all.
    pub(crate) fn count(&mut self, path: usize) -> u64 {
        self.paths = self.paths.saturating_add(path as u64);
        self.paths
    }

    pub(crate) fn set_meta(&mut self, id: NodeId, meta: Meta) {
        self.held.other_bytes += meta.bytes();
        self.nodes[id.0 as usize].meta = meta;
    }

    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.held.other_bytes += node.meta.bytes() + node.kind.bytes();
        self.held.files += u64::from(matches!(&node.kind, NodeKind::File(content) if content.has_data()));
        self.nodes.push(node);
        NodeId(id)
    }

    /// Gives a node a name in a folder; what had it loses it.
    pub(crate) fn link(&mut self, folder: NodeId, name: &[u8], node: NodeId) {
        if let NodeKind::Directory(children) = &mut self.nodes[folder.0 as usize].kind {
            self.held.names += 1;
            self.held.name_bytes += name.len() as u64;
            children.insert(name.into(), node);
        }
    }

    pub(crate) fn unlink(&mut self, folder: NodeId, name: &[u8]) {
        if let NodeKind::Directory(children) = &mut self.nodes[folder.0 as usize].kind {
            children.remove(name);
        }
    }

    pub(crate) fn clear(&mut self, folder: NodeId) {
        if let NodeKind::Directory(children) = &mut self.nodes[folder.0 as usize].kind {
            children.clear();
        }
    }

    /// Every path with its node, folders before what is in them, names in order. A node with several names comes with
    /// each of them.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], NodeId, &Node)) {
        self.walk_places(|path, _, id, node| visit(path, id, node));
    }

    /// The same, with the place of each name; the root has none.
    pub(crate) fn walk_places<'t>(
        &'t self,
        mut visit: impl FnMut(&[u8], Option<Place<'t>>, NodeId, &'t Node),
    ) {
        // A stack of our own: how deep a tree is, is for its image to say.
        let mut path = Vec::new();
        visit(&path, None, Self::ROOT, self.node(Self::ROOT));
        let mut stack = vec![(Self::ROOT, 0, self.children(Self::ROOT).into_iter().flatten())];
        while let Some((folder, len, children)) = stack.last_mut() {
            path.truncate(*len);
            let Some((name, &id)) = children.next() else {
                stack.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let node = self.node(id);
            visit(&path, Some(Place { folder: *folder, name }), id, node);
            if let NodeKind::Directory(_) = node.kind {
                stack.push((id, path.len(), self.children(id).into_iter().flatten()));
            }
        }
    }

    /// The path of a place, for words about it.
    pub(crate) fn path_of(&self, wanted: Place<'_>) -> Vec<u8> {
        let mut found = Vec::new();
        self.walk_places(|path, place, _, _| {
            if place == Some(wanted) {
                found = path.to_vec();
            }
        });
        found
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeKind {
    /// What is held of it beside its names.
    fn bytes(&self) -> u64 {
        match self {
            Self::File(content) => content.map_bytes(),
            Self::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }
}

impl Node {
    pub(crate) fn directory(meta: Meta) -> Self {
        Self { meta, kind: NodeKind::Directory(BTreeMap::new()) }
    }
}
