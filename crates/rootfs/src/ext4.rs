//! A tree as an ext4 file system in one file, by the `mkext4` library.
//!
//! Everything but the content of files is laid out and written first; then the content streams to where it belongs, layer
//! by layer. Blocks of zeros are not written, so the free space and the holes of files take no room on the host.
//!
//! The same tree gives the same bytes: names are declared in their order, files in the order of their layers, and
//! nothing is taken from a clock or a random number.

mod acl;
mod content;
mod restore;
mod sink;
mod size;
mod standin;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mkext4::{FsBuilder, InodeCount, InodeHandle, Layout, Meta as Ext4Meta, Options, ROOT, SpecialKind};

use self::content::{Aligned, Reader, segments};
use self::restore::Restore;
use self::sink::Sparse;
use self::size::Need;
pub use self::size::{Size, TooSmall};
use self::standin::StandIns;
use crate::path::shown;
use crate::writer::{Filling, Planned};
use crate::{Content, Digest, EntryPath, Meta, NodeId, NodeKind, Time, Tree};

/// Blocks of the file system, in bytes.
pub(crate) const BLOCK: u64 = 4096;
/// When the file system was made, as it says of itself: nothing that a rebuild would change.
pub(crate) const MADE: i64 = 1_000_000_000;
/// The inode of the root, and the first of those that are numbered as they are declared.
const ROOT_INODE: u32 = 2;
const FIRST_INODE: u32 = 12;
/// Where `fsck` puts what has no name; every ext4 has it.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A file system whose every byte is decided but those of its files.
pub struct Plan {
    layout: Layout,
    size: u64,
    /// The content that is wanted, in the order in which it is stored.
    wanted: BTreeMap<(u32, u32), Wanted>,
    /// What is not UTF-8.
    restore: Restore,
}

struct Wanted {
    handle: InodeHandle,
    content: Content,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("size", &self.size)
            .field("files", &self.wanted.len())
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Lays a tree out. `id` tells file systems apart: the same id for the same tree.
    ///
    /// # Errors
    /// When the tree has what ext4 cannot hold, or does not fit into the size that is asked for.
    pub fn new(tree: &Tree, id: Digest, size: Size) -> Result<Self, PlanError> {
        let need = size::need(tree);
        let asked = match size.bytes(&need) {
            Ok(bytes) => bytes,
            Err(small) => return Err(TooSmall { least: Self::least(tree, id, &need)?, ..small }.into()),
        };
        match Self::of_size(tree, id, asked, need.inodes) {
            Err(PlanError::Full) if size == Size::Fitting => {
                // The need is an estimate from above; should it be wrong all the same, more is taken.
                Self::of_size(tree, id, Self::least(tree, id, &need)?, need.inodes)
            }
            Err(PlanError::Full) => {
                Err(TooSmall { asked, least: Self::least(tree, id, &Need { bytes: asked, ..need })? }.into())
            }
            outcome => outcome,
        }
    }

    /// A size that is tried and found to be enough, from the need on.
    fn least(tree: &Tree, id: Digest, need: &Need) -> Result<u64, PlanError> {
        let estimate = size::need(tree).bytes;
        let mut bytes = estimate.max(need.bytes);
        // Sixteenths from the estimate on reach its double before they end.
        for _ in 0..16 {
            match Self::of_size(tree, id, bytes, need.inodes) {
                Err(PlanError::Full) => bytes = (bytes + bytes / 16).next_multiple_of(BLOCK),
                outcome => return outcome.map(|_| bytes),
            }
        }
        Err(PlanError::Full)
    }

    fn of_size(tree: &Tree, id: Digest, size: u64, inodes: u32) -> Result<Self, PlanError> {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&id.bytes()[..16]);
        let mut options = Options::new(size, uuid, MADE);
        options.inodes = InodeCount::Exact(inodes);
        // Root of the guest has no use for blocks that only root may fill.
        options.reserved_percent = 0;
        let standins = standin::of_tree(tree, &options.hash_seed).map_err(PlanError::Name)?;
        let mut declaring = Declaring {
            tree,
            standins,
            declared: 0,
            restore: Restore::default(),
            numbers: BTreeMap::from([(Tree::ROOT, ROOT_INODE)]),
            builder: FsBuilder::new(options).map_err(|error| PlanError::other(b"", &error))?,
            handles: BTreeMap::new(),
            files: BTreeMap::new(),
            links: Vec::new(),
        };
        declaring.names()?;
        let wanted = declaring.files()?;
        let restore = declaring.restored();
        let layout = declaring.builder.seal().map_err(|error| match error {
            mkext4::Error::Invalid(why) if why.contains("too small") || why.contains("full") => {
                PlanError::Full
            }
            mkext4::Error::Unsupported(why) if why.contains("too small") || why.contains("journal") => {
                PlanError::Full
            }
            error => PlanError::other(b"", &error),
        })?;
        Ok(Self { layout, size, wanted, restore })
    }
}

impl Planned for Plan {
    fn size(&self) -> u64 {
        self.size
    }

    fn content(&self) -> u64 {
        self.wanted.values().map(|wanted| wanted.content.size).sum()
    }

    fn write(&self, _: &Path, file: File) -> io::Result<Box<dyn Filling + '_>> {
        let sink = Sparse::new(file.try_clone()?, self.size)?;
        // All metadata is written with this.
        let writer = self.layout.writer(sink).map_err(io_error)?;
        self.restore.apply(&file)?;
        Ok(Box::new(Writing { plan: self, writer }))
    }
}

/// A file system that is being written.
struct Writing<'a> {
    plan: &'a Plan,
    writer: mkext4::build::ImageWriter<'a, Sparse>,
}

impl Filling for Writing<'_> {
    fn fill(&mut self, layer: u32, entry: u32, reader: &mut dyn Read) -> io::Result<u64> {
        let Some(wanted) = self.plan.wanted.get(&(layer, entry)) else { return Ok(0) };
        let result = match &wanted.content.data {
            None => self.writer.fill(wanted.handle, &mut Reader(reader)),
            Some(map) => {
                let aligned = size::aligned(map, wanted.content.size);
                self.writer.fill(wanted.handle, &mut Aligned::new(reader, map, &aligned))
            }
        };
        result.map(|_| wanted.content.size).map_err(io_error)
    }

    fn finish(self: Box<Self>) -> io::Result<u64> {
        Ok(self.writer.finish().map_err(io_error)?.data_bytes)
    }
}

/// The tree on its way into the library.
struct Declaring<'a> {
    tree: &'a Tree,
    builder: FsBuilder,
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

impl Declaring<'_> {
    /// Everything that is no file: folders before what is in them.
    fn names(&mut self) -> Result<(), PlanError> {
        let mut paths = Vec::new();
        self.tree.walk(|path, id, _| paths.push((path.to_vec(), id)));
        for (raw, id) in paths {
            let path = EntryPath::parse(&raw).map_err(|why| PlanError::other(&raw, &why))?;
            self.name(&path, id)?;
        }
        Ok(())
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
    fn restored(&mut self) -> Restore {
        let mut restore = std::mem::take(&mut self.restore);
        for (id, standins) in std::mem::take(&mut self.standins) {
            let names = standins.into_iter().map(|(real, standin)| (standin.into_bytes(), real)).collect();
            restore.folders.extend(self.numbers.get(&id).map(|&ino| (ino, names)));
        }
        restore
    }

    /// The files, in the order in which their content is stored, and then every further name.
    fn files(&mut self) -> Result<BTreeMap<(u32, u32), Wanted>, PlanError> {
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

/// Seconds as far as ext4 stores them: 34 bits, from 1901 to 2446.
pub(crate) fn seconds(time: &Time) -> i64 {
    const FIRST: i64 = -(1 << 31);
    const LAST: i64 = (1 << 34) - (1 << 31) - 1;
    time.seconds.clamp(FIRST, LAST)
}

/// Bytes and inodes of a file system for a tree.
pub(crate) fn room(tree: &Tree, size: Size) -> Result<(u64, u32), TooSmall> {
    let need = size::need(tree);
    Ok((size.bytes(&need)?, need.inodes))
}

fn io_error(error: mkext4::Error) -> io::Error {
    match error {
        mkext4::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Why a tree cannot become an ext4 file system.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It does not fit.
    #[error("it does not fit")]
    Full,
    /// It does not fit into what was asked for.
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    /// The name of an attribute that is not UTF-8, or a folder of names that are not, whose index cannot hold them.
    #[error("{0}: what is not UTF-8 there (an attribute's name, or too many names) cannot be stored")]
    Name(EntryPath),
    /// Something else of one entry.
    #[error("/{path}: {why}")]
    Other {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl PlanError {
    fn other(path: &[u8], why: &impl std::fmt::Display) -> Self {
        Self::Other { path: shown(path), why: why.to_string() }
    }
}
