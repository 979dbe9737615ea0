//! Layers merged into one tree (OCI image specification 1.1, layer.md).
//!
//! A layer is applied in two steps. First everything that it hides goes: a whiteout hides what the layers *below* have, so
//! it must not touch what the same layer brings, wherever in the layer it stands. Then its entries come, in their order.
//!
//! Links are followed as a container runtime follows them while it unpacks: a folder on the way to an entry may be a
//! symbolic link, which leads to somewhere inside the image and never out of it. The last name is never followed.

use std::collections::VecDeque;

use crate::entry::{Entry, EntryKind, Meta};
use crate::path::{MAX_NAME, MAX_PATH};
use crate::tree::{Node, NodeId, NodeKind, Tree};
use crate::{EntryPath, Limits};

/// How many symbolic links may be on the way to one entry (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// How many names those links may hold together. Without a bound of their own one entry could cost 80 000 steps, and its
/// image would be small.
const MOST_STEPS: usize = 1024;

/// Applies a layer to what the layers below it made.
///
/// # Errors
/// With the entry that is impossible. The tree is then of no use.
pub fn apply(tree: &mut Tree, layer: &[Entry], limits: &Limits) -> Result<(), MergeError> {
    let fail = |entry: &Entry, why| MergeError { path: entry.path.clone(), why };
    for entry in layer {
        hide(tree, entry).map_err(|why| fail(entry, why))?;
    }
    for entry in layer {
        add(tree, entry, limits).map_err(|why| fail(entry, why))?;
    }
    Ok(())
}

/// An entry that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct MergeError {
    /// The entry.
    pub path: EntryPath,
    /// Why.
    pub why: Impossible,
}

/// Why an entry cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// What should be its folder is something else.
    #[error("a folder on the way to it is no folder")]
    NotADirectory,
    /// Symbolic links lead in a circle, or nearly.
    #[error("there are more than {MOST_LINKS} symbolic links on the way to it")]
    Links,
    /// Symbolic links that hold long ways.
    #[error("the symbolic links on the way to it hold more than {MOST_STEPS} names")]
    Steps,
    /// A place that no program of the image could name.
    #[error("where the symbolic links on the way lead, its path is longer than {MAX_PATH} bytes")]
    LongPath,
    /// A hard link to what is not there.
    #[error("it is a hard link to something that is not there")]
    NoTarget,
    /// A hard link to a folder.
    #[error("it is a hard link to a folder")]
    DirectoryTarget,
    /// The root can only be a folder.
    #[error("the root of an image is a folder")]
    Root,
    /// A symbolic link on the way holds a name that no folder has.
    #[error("a symbolic link on the way to it holds a name that is too long")]
    LongName,
    /// [`Limits::entries`]
    #[error("the image has more than {0} files and folders")]
    TooMany(usize),
    /// [`Limits::metadata`]
    #[error("the paths of the image have more than {0} bytes")]
    Metadata(u64),
}

fn hide(tree: &mut Tree, entry: &Entry) -> Result<(), Impossible> {
    match entry.kind {
        EntryKind::Whiteout => {
            let Some((folder, name)) = entry.path.split() else { return Err(Impossible::Root) };
            if let Some(folder) = find(tree, folder)? {
                tree.unlink(folder, name);
            }
        }
        EntryKind::Opaque => {
            if let Some(folder) = find(tree, entry.path.as_bytes())? {
                tree.clear(folder);
            }
        }
        _ => {}
    }
    Ok(())
}

fn add(tree: &mut Tree, entry: &Entry, limits: &Limits) -> Result<(), Impossible> {
    let Some((folder, name)) = entry.path.split() else {
        return match entry.kind {
            EntryKind::Directory => {
                tree.set_meta(Tree::ROOT, entry.meta.clone());
                Ok(())
            }
            EntryKind::Opaque => Ok(()),
            _ => Err(Impossible::Root),
        };
    };
    let kind = match &entry.kind {
        EntryKind::Whiteout | EntryKind::Opaque => return Ok(()),
        EntryKind::Directory => {
            let (folder, len) = make(tree, folder, limits)?;
            if let Some(there) = tree.child(folder, name)
                && tree.children(there).is_some()
            {
                tree.set_meta(there, entry.meta.clone());
                return Ok(());
            }
            return put(tree, (folder, len), name, Node::directory(entry.meta.clone()), limits);
        }
        EntryKind::HardLink(target) => {
            let target = target_of(tree, target)?;
            let (folder, len) = make(tree, folder, limits)?;
            count(tree, len, name, limits)?;
            tree.link(folder, name, target);
            return Ok(());
        }
        EntryKind::File(content) => NodeKind::File(content.clone()),
        EntryKind::Symlink(target) => NodeKind::Symlink(target.clone()),
        EntryKind::CharDevice(device) => NodeKind::CharDevice(*device),
        EntryKind::BlockDevice(device) => NodeKind::BlockDevice(*device),
        EntryKind::Fifo => NodeKind::Fifo,
    };
    let folder = make(tree, folder, limits)?;
    put(tree, folder, name, Node { meta: entry.meta.clone(), kind }, limits)
}

/// A folder, and how many bytes its path has.
type Place = (NodeId, usize);

fn put(
    tree: &mut Tree,
    (folder, len): Place,
    name: &[u8],
    node: Node,
    limits: &Limits,
) -> Result<(), Impossible> {
    if tree.len() >= limits.entries {
        return Err(Impossible::TooMany(limits.entries));
    }
    count(tree, len, name, limits)?;
    let node = tree.add(node);
    tree.link(folder, name, node);
    Ok(())
}

/// A short entry may have a long path, behind a link: the path that counts is the one in the tree.
fn count(tree: &mut Tree, folder: usize, name: &[u8], limits: &Limits) -> Result<(), Impossible> {
    let len = folder + 1 + name.len();
    // The slash at the beginning is none of an archive's.
    if len - 1 > MAX_PATH {
        return Err(Impossible::LongPath);
    }
    if tree.count(len) > limits.metadata {
        return Err(Impossible::Metadata(limits.metadata));
    }
    Ok(())
}

fn target_of(tree: &Tree, target: &EntryPath) -> Result<NodeId, Impossible> {
    let (folder, name) = target.split().ok_or(Impossible::DirectoryTarget)?;
    let folder = find(tree, folder)?.ok_or(Impossible::NoTarget)?;
    let target = tree.child(folder, name).ok_or(Impossible::NoTarget)?;
    match tree.children(target) {
        Some(_) => Err(Impossible::DirectoryTarget),
        None => Ok(target),
    }
}

/// The folder at a path; nothing when it is not there or is no folder.
fn find(tree: &Tree, path: &[u8]) -> Result<Option<NodeId>, Impossible> {
    let mut walk = Walk::new(path);
    while let Some(name) = walk.next() {
        match tree.child(walk.at(), &name) {
            None => return Ok(None),
            Some(child) => match &tree.node(child).kind {
                NodeKind::Directory(_) => walk.enter(child, &name),
                NodeKind::Symlink(target) => walk.follow(target)?,
                _ => return Ok(None),
            },
        }
    }
    Ok(Some(walk.at()))
}

/// The folder at a path, made with all above it where it is not there, as runtimes do for layers that leave it out.
fn make(tree: &mut Tree, path: &[u8], limits: &Limits) -> Result<Place, Impossible> {
    let mut walk = Walk::new(path);
    while let Some(name) = walk.next() {
        if name.len() > MAX_NAME {
            return Err(Impossible::LongName);
        }
        match tree.child(walk.at(), &name) {
            None => {
                let meta = Meta { mode: 0o755, ..Meta::default() };
                put(tree, walk.place(), &name, Node::directory(meta), limits)?;
                if let Some(made) = tree.child(walk.at(), &name) {
                    walk.enter(made, &name);
                }
            }
            Some(child) => match &tree.node(child).kind {
                NodeKind::Directory(_) => walk.enter(child, &name),
                NodeKind::Symlink(target) => walk.follow(target)?,
                _ => return Err(Impossible::NotADirectory),
            },
        }
    }
    Ok(walk.place())
}

/// A way through a tree: where it is, where it came from, and the names that are still ahead.
struct Walk {
    way: Vec<Place>,
    ahead: VecDeque<Box<[u8]>>,
    links: usize,
    steps: usize,
}

impl Walk {
    fn new(path: &[u8]) -> Self {
        Self { way: vec![(Tree::ROOT, 0)], ahead: names(path).collect(), links: 0, steps: 0 }
    }

    fn at(&self) -> NodeId {
        self.place().0
    }

    fn place(&self) -> Place {
        self.way.last().copied().unwrap_or((Tree::ROOT, 0))
    }

    fn enter(&mut self, folder: NodeId, name: &[u8]) {
        let (_, len) = self.place();
        self.way.push((folder, len + 1 + name.len()));
    }

    /// The next name to look for. Above the root there is only the root.
    fn next(&mut self) -> Option<Box<[u8]>> {
        loop {
            let name = self.ahead.pop_front()?;
            if &*name != b".." {
                return Some(name);
            }
            if self.way.len() > 1 {
                self.way.pop();
            }
        }
    }

    fn follow(&mut self, target: &[u8]) -> Result<(), Impossible> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Impossible::Links);
        }
        if target.starts_with(b"/") {
            self.way.truncate(1);
        }
        for name in names(target).collect::<Vec<_>>().into_iter().rev() {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(Impossible::Steps);
            }
            self.ahead.push_front(name);
        }
        Ok(())
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = Box<[u8]>> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(Into::into)
}
