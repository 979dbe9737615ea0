//! How much memory a conversion takes: an estimate from above, so that an image that asks for more than is allowed is
//! refused before it gets it.
//!
//! ```text
//!   reading     what the layers below made, and the entries of the layer that is read
//!   laying out  the tree, and everything of the file system but the content of files: each inode, each block of a folder,
//!               of long links and of attributes
//! ```
//!
//! Bytes of content cost nothing: they stream. The figures were measured, and tests of images made to be costly hold them
//! against the memory of a process.

use crate::Tree;
use crate::ext4::{self, Size};

/// An entry while its layer is read, beside its bytes.
const ENTRY: u64 = 224;
/// A node of the tree, beside its bytes.
const NODE: u64 = 128;
/// A name of the tree, beside its bytes.
const NAME: u64 = 64;
/// An inode while it is laid out: its 256 bytes on the disk, where its content goes, and what the library knows of it.
const INODE: u64 = 640;
/// Where the bytes of a file go, beside that.
const FILE: u64 = 180;
/// A name while it is laid out, beside its bytes.
const LAID_OUT_NAME: u64 = 100;
/// How often the bytes of a name are held while it is laid out, without the block of its folder.
const TIMES: u64 = 2;

/// What the tree takes.
pub(crate) fn of_tree(tree: &Tree) -> u64 {
    let held = &tree.held;
    tree.len() as u64 * NODE + held.names * NAME + held.name_bytes + held.other_bytes
}

/// What an entry of a layer takes that holds so many bytes, until it is in the tree.
pub(crate) fn of_entry(held: u64) -> u64 {
    ENTRY + held
}

/// What the tree takes while it is laid out, itself included.
pub(crate) fn to_lay_out(tree: &Tree, size: Size) -> u64 {
    let held = &tree.held;
    let inodes = tree.len() as u64 * INODE + held.files * FILE;
    let names = held.names * LAID_OUT_NAME + held.name_bytes * TIMES;
    of_tree(tree) + inodes + names + held.other_bytes + ext4::held(tree, size)
}
