//! The reference: `mke2fs -d` and `debugfs` of e2fsprogs (1.47.0 or newer).
//!
//! ```text
//!   tree ──► a folder beside the file, with names and content ──► mke2fs -d ──► debugfs: owner, mode, times, attributes
//! ```
//!
//! It is there to compare with, and is slow: everything is on the disk twice for a while. No root is needed but for
//! devices, which only root may make. Whatever the folder cannot say is set by inode, so no name ever is part of a
//! command. The bytes are the same again on the same file system; on another one `mke2fs` may find the names of a folder in
//! another order. A symbolic link with several names becomes as many links: `mke2fs` knows other ones only.
//!
//! The programs end with this process, and are given the file open and not by its name, so that one which ends a moment
//! later cannot write into what has that name then.

mod stage;
mod tools;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use mkext4::reader::Fs;
use mkext4::spec::Inode;

use self::stage::{Stage, Wanted};
use crate::ext4::{self, PlanError, Size};
use crate::writer::{Filling, Planned, Writer};
use crate::{Content, Digest, NodeId, NodeKind, Tree};

/// Bytes of an inode in its table, as [`tools`] asks for them.
const INODE: u64 = 256;

/// The writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mke2fs;

struct Plan<'t> {
    tree: &'t Tree,
    id: Digest,
    size: u64,
    inodes: u32,
}

struct Writing<'a> {
    plan: &'a Plan<'a>,
    file: File,
    stage: Stage,
    /// Content that has not come yet.
    wanted: Wanted<'a>,
    filled: u64,
}

impl Writer for Mke2fs {
    fn plan<'t>(&self, tree: &'t Tree, id: Digest, size: Size) -> Result<Box<dyn Planned + 't>, PlanError> {
        let (size, inodes) = ext4::room(tree, size)?;
        Ok(Box::new(Plan { tree, id, size, inodes }))
    }
}

impl Plan<'_> {
    /// The sum of something of each file's content.
    fn sum(&self, of: impl Fn(&Content) -> u64) -> u64 {
        let mut sum = 0;
        let mut seen = std::collections::BTreeSet::new();
        self.tree.walk(|_, id, node| {
            if let NodeKind::File(content) = &node.kind
                && seen.insert(id)
            {
                sum += of(content);
            }
        });
        sum
    }
}

impl Planned for Plan<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn content(&self) -> u64 {
        self.sum(|content| content.size)
    }

    fn allocates(&self) -> io::Result<u64> {
        // Content is in the folder and in the file. Tables of inodes are written whole, empty or not; the journal depends
        // on the version of the program.
        let content = self.sum(|content| match &content.data {
            None => content.size.next_multiple_of(ext4::BLOCK),
            Some(map) => map.iter().map(|extent| extent.len).sum::<u64>().next_multiple_of(ext4::BLOCK),
        });
        Ok(2 * content + u64::from(self.inodes) * INODE)
    }

    fn write(&self, path: &Path, file: File) -> io::Result<Box<dyn Filling + '_>> {
        let stage = Stage::new(path)?;
        let wanted = stage.names(self.tree)?;
        Ok(Box::new(Writing { plan: self, file, stage, wanted, filled: 0 }))
    }
}

impl Filling for Writing<'_> {
    fn fill(&mut self, layer: u32, entry: u32, reader: &mut dyn Read) -> io::Result<u64> {
        let Some((place, content)) = self.wanted.remove(&(layer, entry)) else { return Ok(0) };
        let file = File::options().write(true).open(place)?;
        let whole = [crate::Extent { offset: 0, len: content.size }];
        let mut buffer = vec![0; 1 << 16];
        for extent in content.data.as_deref().unwrap_or(&whole) {
            let (mut at, end) = (extent.offset, extent.offset + extent.len);
            while at < end {
                let len = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
                reader.read_exact(&mut buffer[..len])?;
                file.write_all_at(&buffer[..len], at)?;
                at += len as u64;
                self.filled += len as u64;
            }
        }
        Ok(content.size)
    }

    fn finish(self: Box<Self>) -> io::Result<u64> {
        if let Some((place, _)) = self.wanted.values().find(|(_, content)| content.has_data()) {
            return Err(io::Error::other(format!("the content of {} did not come", place.display())));
        }
        tools::mke2fs(&self.file, &self.stage.root(), self.plan.size, self.plan.inodes, self.plan.id)?;
        let commands = self.stage.beside("commands");
        let mut script = io::BufWriter::new(File::create(&commands)?);
        self.set(&mut script)?;
        script.flush()?;
        tools::debugfs(&self.file, &commands)?;
        Ok(self.filled)
    }
}

impl Writing<'_> {
    /// Commands that set what the folder does not say, of every inode.
    fn set(&self, script: &mut dyn io::Write) -> io::Result<()> {
        let fs = Fs::open(self.file.try_clone()?).map_err(io::Error::other)?;
        let tree = self.plan.tree;
        let mut folders = vec![(Tree::ROOT, 2)];
        let mut seen: BTreeMap<u32, NodeId> = BTreeMap::new();
        self.inode(script, Tree::ROOT, 2)?;
        while let Some((folder, ino)) = folders.pop() {
            for entry in fs.read_dir(ino).map_err(io::Error::other)? {
                let Some(node) = tree.child(folder, &entry.name) else { continue };
                if folder == Tree::ROOT && entry.name == ext4::LOST_AND_FOUND {
                    continue;
                }
                if seen.insert(entry.inode, node).is_some() {
                    continue;
                }
                self.inode(script, node, entry.inode)?;
                if tree.children(node).is_some() {
                    folders.push((node, entry.inode));
                }
            }
        }
        Ok(())
    }

    fn inode(&self, script: &mut dyn io::Write, id: NodeId, ino: u32) -> io::Result<()> {
        let node = self.plan.tree.node(id);
        let meta = &node.meta;
        let kind = match node.kind {
            NodeKind::Directory(_) => 0o040_000,
            NodeKind::File(_) => 0o100_000,
            NodeKind::Symlink(_) => 0o120_000,
            NodeKind::CharDevice(_) => 0o020_000,
            NodeKind::BlockDevice(_) => 0o060_000,
            NodeKind::Fifo => 0o010_000,
        };
        writeln!(script, "sif <{ino}> mode 0{:o}", kind | u32::from(meta.mode))?;
        writeln!(script, "sif <{ino}> uid {}", meta.uid)?;
        writeln!(script, "sif <{ino}> gid {}", meta.gid)?;
        let (low, extra) = Inode::encode_timestamp(ext4::seconds(&meta.mtime), meta.mtime.nanos);
        for time in ["atime", "ctime", "mtime", "crtime"] {
            writeln!(script, "sif <{ino}> {time} @{low}")?;
            writeln!(script, "sif <{ino}> {time}_extra {extra}")?;
        }
        for (number, (name, value)) in meta.xattrs.iter().flat_map(|xattrs| xattrs.iter()).enumerate() {
            let plain = name.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\''));
            if !plain {
                return Err(io::Error::other("an attribute's name that debugfs does not take"));
            }
            let place = self.stage.beside(&format!("value-{ino}-{number}"));
            std::fs::write(&place, value)?;
            let name = String::from_utf8_lossy(name);
            writeln!(script, "ea_set -f \"{}\" <{ino}> {name}", place.display())?;
        }
        Ok(())
    }
}
