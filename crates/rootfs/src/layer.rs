//! One layer of an image: read once for its names, and once more for the content of those that are left.
//!
//! A packed layer is unpacked both times. In a plain one the first time goes from header to header and reads nothing between
//! them, so it has no digest; whether those headers are the layer's is said by [`Headers`] when all of it was read.

mod number;
mod pax;
mod seen;
mod skip;
mod tar;
mod unpack;

use std::io::{self, Read, Seek};

pub(crate) use self::seen::Headers;
pub(crate) use self::skip::Seekable;
use self::skip::{Skip, Streamed};
pub(crate) use self::tar::{Archive, Header};
pub use self::tar::{Malformed, TarError};
pub(crate) use self::unpack::{is_plain, unpacked};
use crate::digest::Hashing;
use crate::memory;
use crate::path::{MAX_PATH, shown};
use crate::{BadPath, Content, Device, Digest, Entry, EntryKind, EntryPath, Limits, Meta, Tree, Xattrs};

/// What a file name begins with that hides another (OCI image specification 1.1, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// The name that hides all of its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What other names of AUFS begin with, which say nothing of the tree.
const AUFS: &[u8] = b".wh..wh.";

/// The most bytes of the attributes of one inode that a file system of 4 KiB blocks takes.
const MOST_XATTRS: usize = 4096 - 32;
/// The most bytes of an attribute's name (`XATTR_NAME_MAX`, linux/limits.h).
const MOST_XATTR_NAME: usize = 255;
/// The most bytes of what a symbolic link holds: `PATH_MAX` counts a NUL at the end.
const MOST_LINK: usize = MAX_PATH - 1;
/// The most blocks of a file system that one part of a sparse file touches beside those that it fills.
const TORN: u64 = 2 * 4096;

/// A layer without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it says, in its order.
    pub entries: Vec<Entry>,
    /// The digest of the unpacked layer, by which the image's configuration names it.
    pub diff_id: Digest,
    /// Unpacked bytes.
    pub bytes: u64,
}

/// What the layers of an image may still take of its [`Limits`].
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    entries: usize,
    bytes: u64,
    apparent: u64,
    metadata: u64,
    /// Memory that names take: those of the tree so far, and of the layer that is read.
    memory: u64,
}

impl Budget {
    /// All of it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let Limits { entries, bytes, apparent, metadata, .. } = limits;
        Self { limits, entries, bytes, apparent, metadata, memory: 0 }
    }

    /// What the tree takes so far; the next layer comes on top of it.
    pub(crate) fn begin(&mut self, tree: &Tree) {
        self.memory = memory::of_tree(tree);
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Excess> {
        let kind = match &entry.kind {
            EntryKind::Symlink(target) => target.len() as u64,
            EntryKind::HardLink(target) => target.as_bytes().len() as u64,
            EntryKind::File(content) => content.map_bytes(),
            _ => 0,
        };
        let held = entry.meta.bytes() + kind + entry.path.as_bytes().len() as u64;
        self.entries = self.entries.checked_sub(1).ok_or(Excess::Entries(self.limits.entries))?;
        self.metadata = self.metadata.checked_sub(held).ok_or(Excess::Metadata(self.limits.metadata))?;
        self.memory += memory::of_entry(held);
        if self.memory > self.limits.memory_of_names() {
            return Err(Excess::Memory(self.limits.memory >> 20));
        }
        if let EntryKind::File(content) = &entry.kind {
            self.apparent =
                self.apparent.checked_sub(content.size).ok_or(Excess::Apparent(self.limits.apparent))?;
            // A byte here and there takes whole blocks on the disk.
            let torn = content.data.as_ref().map_or(0, |data| data.len() as u64 * TORN);
            self.bytes = self.bytes.checked_sub(torn).ok_or(Excess::Bytes(self.limits.bytes))?;
        }
        Ok(())
    }
}

/// Reads a layer to its end.
///
/// # Errors
/// With the entry that is wrong, when the layer is malformed, asks for too much, or cannot be read.
pub fn scan(number: u32, packed: impl Read + Send, budget: &mut Budget) -> Result<Layer, LayerError> {
    let fail = |path: &[u8], why| LayerError { layer: number, path: shown(path), why };
    let plain = unpacked(packed, budget.limits.window_log());
    let plain = plain.map_err(|error| fail(b"", TarError::from(error).into()))?;
    // One byte more than is left tells a layer that is too large from one that is as large as it may be.
    let most = budget.bytes;
    let mut hashing = Hashing::new(plain.take(most.saturating_add(1)));
    let mut archive = Archive::new(Streamed(&mut hashing), budget.limits.header);
    let entries = entries(number, &mut archive, budget, |_| {}).and_then(|(entries, last)| {
        archive.drain().map_err(|error| fail(&last, TarError::from(error).into()))?;
        Ok((entries, last))
    });
    let (diff_id, bytes) = hashing.finish();
    // What was cut off there looks like a damaged archive, and is none.
    if bytes > most {
        let path = entries.map_or_else(|error| error.path, |(_, last)| shown(&last));
        return Err(LayerError { layer: number, path, why: Excess::Bytes(budget.limits.bytes).into() });
    }
    let (entries, last) = entries?;
    budget.bytes = budget
        .bytes
        .checked_sub(bytes)
        .ok_or_else(|| fail(&last, Excess::Bytes(budget.limits.bytes).into()))?;
    Ok(Layer { entries, diff_id, bytes })
}

/// Goes through the headers of a layer that is stored as it is, and is at its beginning; gives its entries, how many bytes it
/// has, and what was seen. It is not its layer before [`each`] has seen the same and come to its digest.
///
/// # Errors
/// As of [`scan`].
pub(crate) fn names(
    number: u32,
    plain: impl Read + Seek,
    budget: &mut Budget,
    mut seen: Headers,
) -> Result<(Vec<Entry>, u64, Headers), LayerError> {
    let fail = |path: &[u8], why| LayerError { layer: number, path: shown(path), why };
    let file = Seekable::new(plain).map_err(|error| fail(b"", TarError::from(error).into()))?;
    let bytes = file.left();
    let left = budget.bytes.checked_sub(bytes);
    budget.bytes = left.ok_or_else(|| fail(b"", Excess::Bytes(budget.limits.bytes).into()))?;
    let mut archive = Archive::new(file, budget.limits.header);
    let (entries, _) = entries(number, &mut archive, budget, |header| seen.add(header))?;
    Ok((entries, bytes, seen))
}

/// The entries of a layer, and the name of the last one.
fn entries(
    number: u32,
    archive: &mut Archive<impl Skip>,
    budget: &mut Budget,
    mut see: impl FnMut(&Header),
) -> Result<(Vec<Entry>, Vec<u8>), LayerError> {
    let fail = |path: &[u8], why| LayerError { layer: number, path: shown(path), why };
    let mut entries = Vec::new();
    let mut last = Vec::new();
    for entry in 0.. {
        let header = archive.next().map_err(|error| fail(&last, error.into()))?;
        let Some(header) = header else { break };
        see(&header);
        last.clone_from(&header.path);
        if let Some(entry) = entry_of(header, number, entry).map_err(|why| fail(&last, why))? {
            budget.take(&entry).map_err(|excess| fail(&last, excess.into()))?;
            entries.push(entry);
        }
    }
    Ok((entries, last))
}

/// Reads a layer once more and hands out the content of its entries, by their number; of a sparse file only the parts
/// that have data. What is not read is skipped.
///
/// # Errors
/// When it cannot be read, or is not what it was, or when `visit` fails.
pub fn contents(
    number: u32,
    packed: impl Read + Send,
    limits: &Limits,
    mut visit: impl FnMut(u32, &mut dyn Read) -> io::Result<()>,
) -> Result<Digest, LayerError> {
    each(number, packed, limits, |entry, _, reader| visit(entry, reader))
}

/// As [`contents`], with the headers.
pub(crate) fn each(
    number: u32,
    packed: impl Read + Send,
    limits: &Limits,
    mut visit: impl FnMut(u32, &Header, &mut dyn Read) -> io::Result<()>,
) -> Result<Digest, LayerError> {
    let fail = |path: &[u8], why| LayerError { layer: number, path: shown(path), why };
    let plain = unpacked(packed, limits.window_log());
    let plain = plain.map_err(|error| fail(b"", TarError::from(error).into()))?;
    // Somebody may have put another blob in its place since it was scanned.
    let mut hashing = Hashing::new(plain.take(limits.bytes));
    let mut archive = Archive::new(Streamed(&mut hashing), limits.header);
    let mut last = Vec::new();
    for entry in 0.. {
        let header = archive.next().map_err(|error| fail(&last, error.into()))?;
        let Some(header) = header else { break };
        let visited = visit(entry, &header, &mut archive.content());
        last = header.path;
        visited.map_err(|error| fail(&last, TarError::from(error).into()))?;
    }
    archive.drain().map_err(|error| fail(b"", TarError::from(error).into()))?;
    Ok(hashing.finish().0)
}

/// What a header says of the tree; nothing for what says nothing.
fn entry_of(header: Header, layer: u32, number: u32) -> Result<Option<Entry>, LayerProblem> {
    let path = EntryPath::parse(&header.path)?;
    let meta = meta(&header)?;
    if let Some((folder, name)) = path.split()
        && name.starts_with(WHITEOUT)
    {
        let (path, kind) = if name == OPAQUE {
            (EntryPath::parse(folder)?, EntryKind::Opaque)
        } else if name.starts_with(AUFS) {
            return Ok(None);
        } else {
            let hidden = &name[WHITEOUT.len()..];
            // `.wh.`, `.wh..` and `.wh...` hide nothing that could be there.
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(LayerProblem::Whiteout);
            }
            (EntryPath::parse(&[folder, b"/", hidden].concat())?, EntryKind::Whiteout)
        };
        return Ok(Some(Entry { path, meta, kind }));
    }
    let device = || -> Result<Device, LayerProblem> {
        let number = |number: u64| u32::try_from(number).map_err(|_| TarError::from(Malformed::Number));
        Ok(Device { major: number(header.major)?, minor: number(header.minor)? })
    };
    let kind = match header.kind {
        // Before ustar, a folder was a file with a slash at its end.
        0 | b'0' if header.path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => {
            EntryKind::File(Content { layer, entry: number, size: header.size, data: header.data })
        }
        b'1' => EntryKind::HardLink(EntryPath::parse(&header.link).map_err(LayerProblem::Target)?),
        b'2' if header.link.is_empty() => return Err(LayerProblem::EmptyLink),
        b'2' if header.link.len() > MOST_LINK => return Err(LayerProblem::LongLink),
        b'2' if header.link.contains(&0) => return Err(LayerProblem::NulLink),
        b'2' => EntryKind::Symlink(header.link.into()),
        b'3' => EntryKind::CharDevice(device()?),
        b'4' => EntryKind::BlockDevice(device()?),
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(TarError::from(Malformed::Kind(other)).into()),
    };
    Ok(Some(Entry { path, meta, kind }))
}

fn meta(header: &Header) -> Result<Meta, LayerProblem> {
    let number = |number: u64| u32::try_from(number).map_err(|_| TarError::from(Malformed::Number));
    let size: usize = header.xattrs.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    if size > MOST_XATTRS {
        return Err(LayerProblem::Xattrs);
    }
    if header.xattrs.keys().any(|name| name.is_empty() || name.contains(&0) || name.len() > MOST_XATTR_NAME) {
        return Err(LayerProblem::XattrName);
    }
    let xattrs: Vec<_> =
        header.xattrs.iter().map(|(name, value)| (name.as_slice().into(), value.as_slice().into())).collect();
    Ok(Meta {
        mode: u16::try_from(header.mode & 0o7777).unwrap_or_default(),
        uid: number(header.uid)?,
        gid: number(header.gid)?,
        mtime: header.mtime,
        xattrs: if xattrs.is_empty() { Xattrs::None } else { Some(Box::new(xattrs)) },
    })
}

/// A layer that is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("layer {}, at or after {path:?}: {why}", .layer + 1)]
pub struct LayerError {
    /// Which layer, from 0.
    pub layer: u32,
    /// The last entry that was read.
    pub path: String,
    /// What is wrong.
    #[source]
    pub why: LayerProblem,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerProblem {
    /// The archive itself.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path that no image has.
    #[error("it is no path: {0}")]
    Path(#[from] BadPath),
    /// A hard link to what is no path.
    #[error("it is a hard link to what is no path: {0}")]
    Target(BadPath),
    /// A symbolic link to nothing.
    #[error("it is a symbolic link to nothing")]
    EmptyLink,
    /// A symbolic link to more than a path can be.
    #[error("it is a symbolic link to more than {MOST_LINK} bytes")]
    LongLink,
    /// A symbolic link to what is no path.
    #[error("it is a symbolic link to what has a NUL")]
    NulLink,
    /// An attribute of a name that cannot be.
    #[error("an extended attribute has no name, one with a NUL, or one of more than {MOST_XATTR_NAME} bytes")]
    XattrName,
    /// A whiteout of nothing.
    #[error("it hides a name that cannot be")]
    Whiteout,
    /// Attributes that no file system takes.
    #[error("its extended attributes have more than {MOST_XATTRS} bytes")]
    Xattrs,
    /// More than an image may have.
    #[error(transparent)]
    Excess(#[from] Excess),
}

/// What an image has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// [`Limits::entries`]
    #[error("the image has more than {0} entries")]
    Entries(usize),
    /// [`Limits::bytes`]
    #[error("the image unpacks to more than {0} bytes")]
    Bytes(u64),
    /// [`Limits::apparent`]
    #[error("the files of the image claim to have more than {0} bytes, holes included")]
    Apparent(u64),
    /// [`Limits::metadata`]
    #[error("the names and attributes of the image have more than {0} bytes")]
    Metadata(u64),
    /// [`Limits::memory`], in MiB
    #[error("the names and attributes of the image take more memory than the {0} MiB that are allowed")]
    Memory(u64),
}
