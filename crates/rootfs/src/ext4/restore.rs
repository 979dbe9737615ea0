//! The real names in the place of their stand-ins, in a file that has all its metadata.
//!
//! ```text
//!   folder without an index   the name within its entry
//!   folder with an index      all entries anew, by their real hashes, in as many blocks; then the hashes of the index
//!   short symbolic link       the target within the inode
//!   long symbolic link        the target in its block
//! ```
//!
//! Whatever has a checksum gets another one. The format is that of the kernel's documentation (`filesystems/ext4`, hash
//! tree directories).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use mkext4::csum;
use mkext4::dirhash::{Signedness, half_md4};
use mkext4::reader::{FileExtent, Fs};
use mkext4::spec::dirent::{DirentIter, rec_len_for};
use mkext4::spec::htree::{NODE_COUNT_OFFSET, ROOT_COUNT_OFFSET, node_limit, root_limit};

use super::standin::ROOM;
use super::{BLOCK, io_error};

/// Bytes of a block.
const SIZE: usize = BLOCK as usize;
/// Inodes that have an index (`EXT4_INDEX_FL`).
const INDEX: u32 = 0x1000;
/// Where an inode has its target (`i_block`), and the two halves of its checksum.
const TARGET: usize = 0x28;
const SUM_LOW: usize = 0x7c;
const SUM_HIGH: usize = 0x82;
/// The longest target that an inode holds.
const SHORT: usize = 59;

/// The real names by their stand-ins.
pub(super) type Names = BTreeMap<Vec<u8>, Box<[u8]>>;

/// What is to be put in place.
#[derive(Debug, Default)]
pub(super) struct Restore {
    /// Folders by inode.
    pub(super) folders: Vec<(u32, Names)>,
    /// Symbolic links by inode, and their targets.
    pub(super) links: Vec<(u32, Box<[u8]>)>,
}

impl Restore {
    /// Puts everything in place.
    pub(super) fn apply(&self, file: &File) -> io::Result<()> {
        if self.folders.is_empty() && self.links.is_empty() {
            return Ok(());
        }
        let fs = Fs::open(file.try_clone()?).map_err(io_error)?;
        for (ino, names) in &self.folders {
            Folder::open(&fs, file, *ino)?.rename(names)?;
        }
        for (ino, target) in &self.links {
            retarget(&fs, file, *ino, target)?;
        }
        Ok(())
    }
}

/// An entry of a folder: name, inode and kind.
type Entry = (Vec<u8>, u32, u8);

struct Folder<'a> {
    fs: &'a Fs<File>,
    file: &'a File,
    extents: Vec<FileExtent>,
    blocks: usize,
    has_index: bool,
    /// What its checksums begin with.
    seed: u32,
}

impl<'a> Folder<'a> {
    fn open(fs: &'a Fs<File>, file: &'a File, ino: u32) -> io::Result<Self> {
        let inode = fs.inode(ino).map_err(io_error)?;
        let extents = fs.extents(ino, &inode).map_err(io_error)?;
        let blocks = usize::try_from(inode.size / BLOCK).map_err(io::Error::other)?;
        let seed = csum::inode_seed(fs.fs_seed(), ino, inode.generation);
        Ok(Self { fs, file, extents, blocks, has_index: inode.flags & INDEX != 0, seed })
    }

    fn rename(&self, names: &Names) -> io::Result<()> {
        if self.has_index {
            return self.index(names);
        }
        for number in 0..self.blocks {
            let mut block = self.read(number)?;
            let mut found = Vec::new();
            for entry in DirentIter::new(&block) {
                let entry = entry.map_err(io_error)?;
                if let Some(name) = names.get(entry.name) {
                    found.push((entry.offset, entry.name.len(), name));
                }
            }
            for (offset, width, name) in found {
                block[offset + 6] = u8::try_from(name.len()).map_err(io::Error::other)?;
                block[offset + 8..offset + 8 + width].fill(0);
                block[offset + 8..offset + 8 + name.len()].copy_from_slice(name);
            }
            self.write_names(number, &mut block)?;
        }
        Ok(())
    }

    /// The blocks of a folder with an index are its root, then the names, then the nodes between, where there are some.
    fn index(&self, names: &Names) -> io::Result<()> {
        let mut root = self.read(0)?;
        let has_nodes = root[0x1e] > 0;
        let nodes = if has_nodes { usize::from(u16_at(&root, ROOT_COUNT_OFFSET + 2)) } else { 0 };
        let leaves = self.blocks.saturating_sub(1 + nodes);
        let mut entries: Vec<((u32, u32), Entry)> = Vec::new();
        let hash_seed = self.fs.superblock().hash_seed;
        for number in 1..=leaves {
            let block = self.read(number)?;
            for entry in DirentIter::new(&block) {
                let entry = entry.map_err(io_error)?;
                let name = names.get(entry.name).map_or(entry.name, |name| name);
                let hash = half_md4(&hash_seed, Signedness::Signed, name);
                entries.push((hash, (name.to_vec(), entry.inode, entry.file_type)));
            }
        }
        entries.sort_unstable();
        let parts = parts(&entries, leaves)?;
        let mut hashes = Vec::with_capacity(leaves);
        let mut before = None;
        for (number, part) in (1..).zip(&parts) {
            let (first, last) = (part.first().map_or(0, |e| e.0.0), part.last().map_or(0, |e| e.0.0));
            // The lowest bit says that a hash goes on from the block before.
            hashes.push(first | u32::from(before == Some(first)));
            before = Some(last);
            self.write_names(number, &mut rendered(part)?)?;
        }
        if has_nodes {
            let limit = node_limit(SIZE);
            let mut firsts = Vec::with_capacity(nodes);
            for (number, group) in (1 + leaves..).zip(hashes.chunks(usize::from(limit))) {
                let mut node = self.read(number)?;
                self.write_hashes(number, &mut node, NODE_COUNT_OFFSET, limit, group)?;
                firsts.extend(group.first());
            }
            hashes = firsts;
        }
        self.write_hashes(0, &mut root, ROOT_COUNT_OFFSET, root_limit(SIZE), &hashes)
    }

    fn place(&self, number: usize) -> io::Result<u64> {
        self.fs
            .file_block(&self.extents, number as u64)
            .ok_or_else(|| io::Error::other("a folder has a hole"))
    }

    fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        self.fs.read_block(self.place(number)?).map_err(io_error)
    }

    fn write_names(&self, number: usize, block: &mut [u8]) -> io::Result<()> {
        let sum = csum::dirent_block(self.seed, block);
        block[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(block, self.place(number)? * BLOCK)
    }

    /// Hashes of a node of the index. The first has none: it is what the node above says.
    fn write_hashes(
        &self,
        number: usize,
        node: &mut [u8],
        at: usize,
        limit: u16,
        hashes: &[u32],
    ) -> io::Result<()> {
        let count = u16_at(node, at + 2);
        if usize::from(count) != hashes.len() || count > limit {
            return Err(io::Error::other("an index is not as it was laid out"));
        }
        for (position, hash) in hashes.iter().enumerate().skip(1) {
            node[at + 8 * position..][..4].copy_from_slice(&hash.to_le_bytes());
        }
        let sum = csum::dx_block(self.seed, node, at, count, limit);
        let tail = at + usize::from(limit) * 8;
        node[tail + 4..tail + 8].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(node, self.place(number)? * BLOCK)
    }
}

/// Entries in exactly so many blocks, in their order.
fn parts<T>(entries: &[(T, Entry)], blocks: usize) -> io::Result<Vec<&[(T, Entry)]>> {
    let mut parts = Vec::with_capacity(blocks);
    let (mut from, mut used) = (0, 0);
    for (at, (_, (name, ..))) in entries.iter().enumerate() {
        let len = rec_len_for(name.len());
        // The last ones get a block each where otherwise too few blocks were used.
        let must = entries.len() - at < blocks - parts.len().min(blocks) && at > from;
        if used + len > ROOM || must {
            parts.push(&entries[from..at]);
            (from, used) = (at, 0);
        }
        used += len;
    }
    parts.push(&entries[from..]);
    if parts.len() == blocks {
        Ok(parts)
    } else {
        Err(io::Error::other("a folder is not as it was laid out"))
    }
}

fn rendered<T>(part: &[(T, Entry)]) -> io::Result<Vec<u8>> {
    let mut block = vec![0; SIZE];
    let mut offset = 0;
    for (number, (_, (name, ino, kind))) in part.iter().enumerate() {
        let is_last = number + 1 == part.len();
        let len = if is_last { ROOM - offset } else { rec_len_for(name.len()) };
        block[offset..offset + 4].copy_from_slice(&ino.to_le_bytes());
        let stored = u16::try_from(len).map_err(io::Error::other)?;
        block[offset + 4..offset + 6].copy_from_slice(&stored.to_le_bytes());
        block[offset + 6] = u8::try_from(name.len()).map_err(io::Error::other)?;
        block[offset + 7] = *kind;
        block[offset + 8..offset + 8 + name.len()].copy_from_slice(name);
        offset += len;
    }
    // The checksum is in an entry of its own: 12 bytes, of no inode, of the kind 0xde.
    block[ROOM + 4] = 12;
    block[ROOM + 7] = 0xde;
    Ok(block)
}

fn retarget(fs: &Fs<File>, file: &File, ino: u32, target: &[u8]) -> io::Result<()> {
    let inode = fs.inode(ino).map_err(io_error)?;
    if inode.size != target.len() as u64 {
        return Err(io::Error::other("a symbolic link is not as it was laid out"));
    }
    if target.len() > SHORT {
        let extents = fs.extents(ino, &inode).map_err(io_error)?;
        let block = fs.file_block(&extents, 0).ok_or_else(|| io::Error::other("a link has a hole"))?;
        return file.write_all_at(target, block * BLOCK);
    }
    let mut raw = fs.inode_raw(ino).map_err(io_error)?;
    raw[TARGET..TARGET + target.len()].copy_from_slice(target);
    let sum = csum::inode(fs.fs_seed(), ino, inode.generation, &raw).to_le_bytes();
    raw[SUM_LOW..SUM_LOW + 2].copy_from_slice(&sum[..2]);
    raw[SUM_HIGH..SUM_HIGH + 2].copy_from_slice(&sum[2..]);
    let superblock = fs.superblock();
    let (group, number) = ((ino - 1) / superblock.inodes_per_group, (ino - 1) % superblock.inodes_per_group);
    let table = fs.group_desc(u64::from(group)).map_err(io_error)?.inode_table;
    file.write_all_at(&raw, table * BLOCK + u64::from(number) * u64::from(superblock.inode_size))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
