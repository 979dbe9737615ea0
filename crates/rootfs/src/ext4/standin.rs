//! Names that stand in for those that the library does not take: it takes UTF-8 only, and Linux takes any bytes.
//!
//! A name that is not UTF-8 is declared under another one, of as much room in its folder, and [`restore`](super::restore)
//! puts the real one in its place. A folder without an index has its names in the order of their declaration, so there
//! any other name will do. One with an index has them by their hash, packed into blocks; there the stand-ins are chosen so
//! that the real names, which have other hashes and so another order, fit into as many blocks.

use std::collections::{BTreeMap, BTreeSet};

use mkext4::dirhash::{HashSeed, Signedness, half_md4};
use mkext4::spec::dirent::rec_len_for;

use super::BLOCK;
use crate::{EntryPath, MAX_NAME, NodeId, NodeKind, Tree};

/// What a block of names has room for, beside its checksum (`ext4_dir_entry_tail`).
pub(super) const ROOM: usize = BLOCK as usize - 12;
/// From so many bytes of names on the library makes an index.
const INDEXED: usize = BLOCK as usize - 24;
/// What stand-ins are made of.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Stand-ins by the names of one folder.
pub(super) type StandIns = BTreeMap<Box<[u8]>, String>;

/// The stand-ins of every folder that needs some.
///
/// # Errors
/// With a name for which there is none.
pub(super) fn of_tree(tree: &Tree, seed: &HashSeed) -> Result<BTreeMap<NodeId, StandIns>, EntryPath> {
    let mut found = BTreeMap::new();
    let mut failed = None;
    tree.walk(|path, id, node| {
        let NodeKind::Directory(children) = &node.kind else { return };
        if failed.is_some() || children.keys().all(|name| std::str::from_utf8(name).is_ok()) {
            return;
        }
        match of_folder(children, id == Tree::ROOT, seed) {
            Some(names) => {
                found.insert(id, names);
            }
            None => failed = EntryPath::parse(path).ok(),
        }
    });
    failed.map_or(Ok(found), Err)
}

fn of_folder(children: &BTreeMap<Box<[u8]>, NodeId>, is_root: bool, seed: &HashSeed) -> Option<StandIns> {
    let mut real: BTreeSet<&[u8]> = children.keys().map(|name| &**name).collect();
    if is_root {
        real.insert(super::LOST_AND_FOUND);
    }
    let needed = blocks(&real, seed);
    // Every try has other names, and they are longer, so at last they need as many blocks as the real ones.
    (0..MAX_NAME / 4).find_map(|longer| {
        let mut next = longer << 20;
        let standins: StandIns = real
            .iter()
            .filter(|name| std::str::from_utf8(name).is_err())
            .map(|name| {
                let width = (name.len().next_multiple_of(4) + longer * 4).min(MAX_NAME);
                let standin = std::iter::from_fn(|| {
                    next += 1;
                    Some(word(next, width))
                })
                .find(|word| !real.contains(word.as_bytes()));
                ((*name).into(), standin.unwrap_or_default())
            })
            .collect();
        let declared =
            real.iter().map(|name| standins.get(*name).map_or(*name, |standin| standin.as_bytes())).collect();
        let bytes: usize = bytes(&declared);
        (bytes < INDEXED || blocks(&declared, seed) >= needed).then_some(standins)
    })
}

fn bytes(names: &BTreeSet<&[u8]>) -> usize {
    names.iter().map(|name| rec_len_for(name.len())).sum()
}

/// How many blocks names need by the order of their hashes.
fn blocks(names: &BTreeSet<&[u8]>, seed: &HashSeed) -> usize {
    let mut hashed: Vec<_> = names
        .iter()
        .map(|name| (half_md4(seed, Signedness::Signed, name), rec_len_for(name.len())))
        .collect();
    hashed.sort_unstable();
    let mut blocks = 1;
    let mut used = 0;
    for (_, len) in hashed {
        if used + len > ROOM {
            blocks += 1;
            used = 0;
        }
        used += len;
    }
    blocks
}

/// A word of some width, another one for each number.
fn word(number: usize, width: usize) -> String {
    let mut rest = number;
    let mut word = String::with_capacity(width);
    for _ in 0..width {
        word.push(char::from(DIGITS[rest % DIGITS.len()]));
        rest /= DIGITS.len();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_differ_and_have_room_for_the_name() {
        let names: Vec<Box<[u8]>> = (0..=255_u8)
            .flat_map(|byte| [Box::from([byte]), Box::from([0xff, byte]), Box::from([0xe9; 255])])
            .collect();
        let children: BTreeMap<_, _> = names.into_iter().map(|name| (name, Tree::ROOT)).collect();
        let standins = of_folder(&children, true, &[1, 2, 3, 4]).unwrap();
        assert!(standins.iter().all(|(name, standin)| standin.len() >= name.len() && standin.len() <= 255));
        let different: BTreeSet<_> = standins.values().collect();
        assert_eq!(different.len(), standins.len());
        assert!(different.iter().all(|standin| !children.contains_key(standin.as_bytes())));
    }
}
