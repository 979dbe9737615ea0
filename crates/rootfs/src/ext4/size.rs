//! How large a file system has to be.

use super::BLOCK;
use crate::{Extent, NodeKind, Tree};

/// Room beside what the tree needs: a sixteenth, and at least so much. A root file system is read-only, but who mounts
/// it to change something should be able to.
const LEAST_ROOM: u64 = 16 << 20;
/// The smallest file system that has a journal.
const LEAST: u64 = 16 << 20;
/// From here on the library, which numbers blocks with 32 bits, has too few numbers.
pub(super) const TOO_LARGE: u64 = (16 << 40) - BLOCK;
/// Bytes of a file system for each byte of its bitmaps and descriptors, which are held in memory while it is laid out: about
/// 75 MiB for each TiB.
pub(super) const PER_BYTE_OF_BITMAPS: u64 = 13_000;
/// Bytes of a group of blocks: as many blocks as one of them has bits.
const GROUP: u64 = BLOCK * BLOCK * 8;
/// Inodes beside those of the tree.
const MORE_INODES: u32 = 1024;
/// Bytes of a folder per name, beside the name itself, in folders that have an index.
const PER_NAME: u64 = 16;
/// Bytes of an extent at most, half of it to have room for those that end early with their group.
const LARGEST_EXTENT: u64 = 64 << 20;
/// Extents that an inode holds itself, and those of a block of its tree.
const IN_INODE: u64 = 4;
const PER_LEAF: u64 = 340;
/// Bytes of memory for each extent of a file that has more of them than its inode holds.
const PER_EXTENT: u64 = 64;

/// How large the file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As large as the tree needs, and a sixteenth more, at least 16 MiB.
    Fitting,
    /// So many bytes, rounded up to whole blocks.
    Exactly(u64),
}

/// What a tree needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Bytes of the file, without any room.
    pub(super) bytes: u64,
    /// Inodes.
    pub(super) inodes: u32,
    /// Bytes of memory for the blocks of folders, long links, attributes and trees of extents.
    pub(super) metadata: u64,
}

/// A size that no tree of this kind has, or that this one does not fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSize {
    #[error(transparent)]
    Small(#[from] TooSmall),
    #[error("the file would have 16 TiB or more")]
    Large,
}

/// A size that the tree does not fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes are too few: the image needs {least}")]
pub struct TooSmall {
    /// What was asked for, in bytes.
    pub asked: u64,
    /// What would do, in bytes.
    pub least: u64,
}

impl Size {
    pub(super) fn bytes(self, need: &Need) -> Result<u64, BadSize> {
        let bytes = match self {
            Self::Fitting => (need.bytes + (need.bytes / 16).max(LEAST_ROOM)).next_multiple_of(1 << 20),
            Self::Exactly(asked) if asked <= LEAST - BLOCK => {
                return Err(TooSmall { asked, least: need.bytes }.into());
            }
            Self::Exactly(asked) => asked.min(TOO_LARGE).next_multiple_of(BLOCK),
        };
        if bytes < TOO_LARGE { Ok(bytes) } else { Err(BadSize::Large) }
    }
}

/// What a tree needs, rather a little more than too little.
pub(super) fn need(tree: &Tree) -> Need {
    // Blocks of what is laid out beforehand, of what streams, and of the trees that say where it is: those are among
    // what streams as well.
    let (mut held, mut streamed, mut trees) = (0_u64, 0_u64, 0_u64);
    let mut several = 0;
    let mut seen = std::collections::BTreeSet::new();
    tree.walk(|_, id, node| {
        if !seen.insert(id) {
            return;
        }
        held += match &node.kind {
            NodeKind::Directory(children) => {
                let bytes: u64 = children.keys().map(|name| name.len() as u64 + PER_NAME).sum();
                // Folders with an index are filled to two thirds, about.
                1 + (bytes * 3 / 2).div_ceil(BLOCK)
            }
            NodeKind::File(content) => {
                let data = content.data.as_ref().map(|map| aligned(map, content.size));
                let parts = data.as_ref().map_or(1, |data| data.len() as u64);
                let bytes = data.map_or(content.size, |data| data.iter().map(|extent| extent.len).sum());
                // A block of the extent tree for every 128 MiB, and one more.
                streamed += bytes.div_ceil(BLOCK) + bytes / (128 << 20) + 1;
                let extents = parts + bytes / LARGEST_EXTENT;
                if extents > IN_INODE {
                    trees += 2 + extents / PER_LEAF;
                    several += extents;
                }
                0
            }
            NodeKind::Symlink(target) if target.len() >= 60 => 1,
            _ => 0,
        };
        held += u64::from(node.meta.xattrs.is_some());
    });
    let inodes = u32::try_from(seen.len()).unwrap_or(u32::MAX).saturating_add(MORE_INODES);
    let tables = u64::from(inodes) * 256 / BLOCK + 64;
    let content = (held + streamed + tables) * BLOCK;
    // Bitmaps and descriptors of each 128 MiB, and the journal in its steps.
    let groups = content / (128 << 20) + 2;
    let journal = match content >> 20 {
        0..100 => 4,
        100..900 => 16,
        900..1900 => 32,
        1900..15_000 => 64,
        15_000..30_000 => 128,
        30_000..60_000 => 256,
        _ => 1024,
    } << 20;
    let bytes = content + groups * (64 + 2) * BLOCK + journal + (4 << 20);
    // What is short has an inode and no block, and a group holds no more inodes than a block has bits.
    let groups = u64::from(inodes).div_ceil(BLOCK * 8);
    let bytes = if bytes.div_ceil(GROUP) < groups { groups * GROUP } else { bytes };
    let metadata = (held + trees) * BLOCK + several * PER_EXTENT;
    Need { bytes: bytes.max(LEAST).next_multiple_of(BLOCK), inodes, metadata }
}

/// The whole blocks that have data, joined where they touch; the last one ends with the file.
pub(super) fn aligned(map: &[Extent], size: u64) -> Vec<Extent> {
    let mut whole: Vec<Extent> = Vec::new();
    for extent in map.iter().filter(|extent| extent.len > 0) {
        let start = extent.offset / BLOCK * BLOCK;
        let end = (extent.offset + extent.len).next_multiple_of(BLOCK).min(size);
        match whole.last_mut() {
            Some(last) if last.offset + last.len >= start => last.len = end - last.offset,
            _ => whole.push(Extent { offset: start, len: end - start }),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_whole_blocks() {
        let map = |extents: &[(u64, u64)]| -> Vec<Extent> {
            extents.iter().map(|&(offset, len)| Extent { offset, len }).collect()
        };
        assert_eq!(
            aligned(&map(&[(0, 1), (4095, 2), (20_000, 10)]), 20_010),
            map(&[(0, 8192), (16_384, 3626)])
        );
        assert_eq!(aligned(&map(&[(4096, 4096), (8192, 1)]), 100_000), map(&[(4096, 8192)]));
        assert_eq!(aligned(&[], 5), []);
        assert_eq!(aligned(&map(&[(7, 0)]), 9), []);
    }
}
