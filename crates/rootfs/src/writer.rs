//! Writers of file systems: a tree in, a file out, in three steps.
//!
//! ```text
//!   Writer ──plan──► Planned ──write──► Filling ──fill, fill, …──► finish
//!   a tree           a size             a file without content     the file
//! ```

mod mke2fs;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::ext4::{self, PlanError, Size};
use crate::{Digest, Tree};

/// What makes file systems.
pub trait Writer: Send + Sync {
    /// Decides how large the file system becomes. `id` tells file systems apart: the same id for the same tree.
    ///
    /// # Errors
    /// When the tree has what ext4 cannot hold, or does not fit into the size that is asked for.
    fn plan<'t>(&self, tree: &'t Tree, id: Digest, size: Size) -> Result<Box<dyn Planned + 't>, PlanError>;
}

/// A file system that is decided.
pub trait Planned {
    /// How large the file is, holes included, in bytes.
    fn size(&self) -> u64;

    /// Bytes of content that [`Filling::fill`] is still to be given.
    fn content(&self) -> u64;

    /// Bytes of the disk that writing it takes, whether they stay or not, as far as that is known before: content, zeros in
    /// it included, and what describes it, but no holes.
    ///
    /// # Errors
    /// When that cannot be laid out.
    fn allocates(&self) -> io::Result<u64>;

    /// Writes into an empty file, which is at `path`. After an error it is of no use.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&self, path: &Path, file: File) -> io::Result<Box<dyn Filling + '_>>;
}

/// A file system that is being written.
pub trait Filling {
    /// Takes the content of an entry of a layer, if the file system has it, and says how many bytes that were.
    ///
    /// # Errors
    /// When it is shorter than the entry said, or cannot be written.
    fn fill(&mut self, layer: u32, entry: u32, reader: &mut dyn Read) -> io::Result<u64>;

    /// What lies before this place in the file stays as it is, whatever is still to come. Less than it was before when that
    /// could not be kept.
    fn settled(&self) -> u64 {
        0
    }

    /// Ends the file, and says how many bytes of content it has. It is not synced.
    ///
    /// # Errors
    /// When a content did not come, or the file cannot be written.
    fn finish(self: Box<Self>) -> io::Result<u64>;
}

/// The folder beside a file in which [`WriterKind::Mke2fs`] prepares it: a process that is killed leaves it behind.
#[must_use]
pub fn stage(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".staged");
    file.with_file_name(name)
}

/// Which writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriterKind {
    /// The one in use: content streams to its place.
    #[default]
    Mkext4,
    /// The reference, by the programs `mke2fs` and `debugfs` of e2fsprogs.
    Mke2fs,
}

impl WriterKind {
    /// Its word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mkext4 => "mkext4",
            Self::Mke2fs => "mke2fs",
        }
    }

    /// The writer itself.
    #[must_use]
    pub fn writer(self) -> &'static dyn Writer {
        match self {
            Self::Mkext4 => &Mkext4,
            Self::Mke2fs => &mke2fs::Mke2fs,
        }
    }
}

/// By the library `mkext4`.
#[derive(Clone, Copy, Debug)]
struct Mkext4;

impl Writer for Mkext4 {
    fn plan<'t>(&self, tree: &'t Tree, id: Digest, size: Size) -> Result<Box<dyn Planned + 't>, PlanError> {
        Ok(Box::new(ext4::Plan::new(tree, id, size)?))
    }
}
