//! A tree as an ext4 file system in one file, by the `mkext4` library.
//!
//! Everything but the content of files is laid out and written first; then the content streams to where it belongs, layer
//! by layer. Blocks of zeros are not written, so the free space and the holes of files take no room on the host.
//!
//! The same tree gives the same bytes: names are declared in their order, files in the order of their layers, and
//! nothing is taken from a clock or a random number.

mod acl;
mod content;
mod declare;
mod empty;
mod restore;
mod sink;
mod size;
mod standin;
mod wanted;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use mkext4::{FsBuilder, InodeCount, Layout, Options};

use self::content::{Aligned, Reader};
use self::declare::Declaring;
pub use self::empty::{LEAST as LEAST_EMPTY, empty};
use self::restore::Restore;
use self::sink::{Counting, Forward, Sparse};
use self::size::{BadSize, Need};
pub use self::size::{Size, TooSmall};
use self::wanted::Wanteds;
use crate::path::shown;
use crate::writer::{Filling, Planned};
use crate::{Digest, EntryPath, Time, Tree};

/// Blocks of the file system, in bytes.
pub(crate) const BLOCK: u64 = 4096;
/// When the file system was made, as it says of itself: nothing that a rebuild would change.
pub(crate) const MADE: i64 = 1_000_000_000;
/// Where `fsck` puts what has no name; every ext4 has it.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A file system whose every byte is decided but those of its files.
pub struct Plan {
    layout: Layout,
    size: u64,
    /// The content that is wanted, in the order in which it is stored.
    wanted: Wanteds,
    /// What is not UTF-8.
    restore: Restore,
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
            Err(BadSize::Small(small)) => {
                return Err(TooSmall { least: Self::least(tree, id, &need)?, ..small }.into());
            }
            Err(BadSize::Large) => return Err(PlanError::TooLarge),
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
        let builder = FsBuilder::new(options).map_err(|error| PlanError::other(b"", &error))?;
        let mut declaring = Declaring::new(tree, builder, standins);
        declaring.names()?;
        let wanted = declaring.files()?;
        let restore = declaring.restored();
        let layout = declaring.builder.seal().map_err(|error| match error {
            mkext4::Error::Invalid(why)
                if ["too small", "full", "geometry provides"].iter().any(|words| why.contains(words)) =>
            {
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
        self.wanted.bytes()
    }

    fn allocates(&self) -> io::Result<u64> {
        let mut metadata = 0;
        // It lays all metadata out, and is dropped before any content.
        self.layout.writer(Counting(&mut metadata)).map_err(io_error)?;
        Ok(metadata + self.wanted.allocated())
    }

    fn write(&self, _: &Path, file: File) -> io::Result<Box<dyn Filling + '_>> {
        let sink = Sparse::new(file.try_clone()?, self.size)?;
        let forward = sink.forward();
        // All metadata is written with this.
        let writer = self.layout.writer(sink).map_err(io_error)?;
        self.restore.apply(&file)?;
        forward.begin();
        Ok(Box::new(Writing { plan: self, writer, forward }))
    }
}

/// A file system that is being written.
struct Writing<'a> {
    plan: &'a Plan,
    writer: mkext4::build::ImageWriter<'a, Sparse>,
    /// Of content alone: everything else is written.
    forward: Rc<Forward>,
}

impl Filling for Writing<'_> {
    fn fill(&mut self, layer: u32, entry: u32, reader: &mut dyn Read) -> io::Result<u64> {
        let Some(wanted) = self.plan.wanted.get((layer, entry)) else { return Ok(0) };
        let result = match &wanted.data {
            None => self.writer.fill(wanted.handle, &mut Reader(reader)),
            Some(map) => {
                let aligned = size::aligned(map, wanted.size);
                self.writer.fill(wanted.handle, &mut Aligned::new(reader, map, &aligned))
            }
        };
        result.map(|_| wanted.size).map_err(io_error)
    }

    fn settled(&self) -> u64 {
        self.forward.end()
    }

    fn finish(self: Box<Self>) -> io::Result<u64> {
        Ok(self.writer.finish().map_err(io_error)?.data_bytes)
    }
}

/// Seconds as far as ext4 stores them: 34 bits, from 1901 to 2446.
pub(crate) fn seconds(time: &Time) -> i64 {
    const FIRST: i64 = -(1 << 31);
    const LAST: i64 = (1 << 34) - (1 << 31) - 1;
    time.seconds.clamp(FIRST, LAST)
}

/// Bytes of the blocks of a file system that are held in memory: all but the content of files.
pub(crate) fn held(tree: &Tree, size: Size) -> u64 {
    let need = size::need(tree);
    let bytes = match size {
        Size::Fitting => need.bytes,
        Size::Exactly(bytes) if bytes < size::TOO_LARGE => bytes.max(need.bytes),
        // It is refused for that.
        Size::Exactly(_) => 0,
    };
    need.metadata + bytes / size::PER_BYTE_OF_BITMAPS
}

/// Bytes and inodes of a file system for a tree.
pub(crate) fn room(tree: &Tree, size: Size) -> Result<(u64, u32), PlanError> {
    let need = size::need(tree);
    match size.bytes(&need) {
        Ok(bytes) => Ok((bytes, need.inodes)),
        Err(BadSize::Small(small)) => Err(small.into()),
        Err(BadSize::Large) => Err(PlanError::TooLarge),
    }
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
    /// It is larger than such a file system can be.
    #[error("the file system would have 16 TiB or more, which is too large; ask for a smaller size")]
    TooLarge,
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
    /// What is not UTF-8 at a path of the tree.
    fn name(path: &[u8]) -> Self {
        EntryPath::parse(path).map_or_else(|why| Self::other(path, &why), Self::Name)
    }

    fn other(path: &[u8], why: &impl std::fmt::Display) -> Self {
        Self::Other { path: shown(path), why: why.to_string() }
    }
}
