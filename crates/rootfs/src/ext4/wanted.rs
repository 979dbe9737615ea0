//! The content that a file system is to be given, in the order in which it is stored.

use mkext4::InodeHandle;

use super::{BLOCK, size};
use crate::Extent;

/// A file's content.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) handle: InodeHandle,
    /// How many bytes, holes included.
    pub(super) size: u64,
    /// The parts that have data; nothing when all of it has.
    pub(super) data: Option<Box<[Extent]>>,
}

/// All of it, by layer and entry. A list and no map: there is one for each file.
#[derive(Debug, Default)]
pub(super) struct Wanteds(Vec<((u32, u32), Wanted)>);

impl Wanteds {
    /// Adds one that comes after those that are there.
    pub(super) fn push(&mut self, at: (u32, u32), wanted: Wanted) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < at), "they come in order");
        self.0.push((at, wanted));
    }

    pub(super) fn get(&self, at: (u32, u32)) -> Option<&Wanted> {
        let found = self.0.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some(&self.0[found].1)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all files in whole blocks, without holes.
    pub(super) fn allocated(&self) -> u64 {
        let of_file = |wanted: &Wanted| match &wanted.data {
            None => wanted.size.next_multiple_of(BLOCK),
            Some(map) => {
                let whole = size::aligned(map, wanted.size);
                whole.iter().map(|extent| extent.len.next_multiple_of(BLOCK)).sum()
            }
        };
        self.0.iter().map(|(_, wanted)| of_file(wanted)).sum()
    }

    /// Bytes of all files, holes included.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, wanted)| wanted.size).sum()
    }
}
