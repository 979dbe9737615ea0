//! An image to a file, from its first byte to its last.
//!
//! ```text
//!   layers, once: names ──► one tree ──► layout ──► everything but content is written
//!   layers, once more: content ────────────────────► to its place ──► followed by hash and sync
//! ```
//!
//! Every byte of a layer is hashed in one of the two readings; layers of which nothing is left, and that were hashed in the
//! first, are not read a second time.

mod end;
mod scan;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use self::end::{Following, Removing};
use self::scan::{Check, Scanned, scanned};
use crate::ext4::{PlanError, Size};
use crate::init::Added;
use crate::layer::{Headers, LayerError, each};
use crate::memory;
use crate::merge::MergeError;
use crate::source::Image;
use crate::space::{NoRoom, room};
use crate::writer::WriterKind;
use crate::{Digest, Init, InitError, Limits, Progress, Quiet, Stage, Timed, Tree};

/// What changes when the same image would become other bytes: it is part of the name of what is kept.
pub const CONVERTER: &str = "1";

/// What is wished for beside the image.
#[derive(Clone, Debug)]
pub struct Options {
    /// How large the file is to be.
    pub size: Size,
    /// How much the image may ask for.
    pub limits: Limits,
    /// A program that is placed in the file system; without one the tree is exactly the image's.
    pub init: Option<Init>,
    /// What writes the file.
    pub writer: WriterKind,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: Size::Fitting, limits: Limits::default(), init: None, writer: WriterKind::default() }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Bytes of the file, holes included.
    pub size: u64,
    /// The digest of the whole file, as `sha256sum` prints it.
    pub sha256: Digest,
    /// Bytes of content in it.
    pub content: u64,
    /// Files, folders, links and devices.
    pub inodes: usize,
    /// How long each stage took.
    pub stages: Vec<(Stage, Duration)>,
}

/// Reads the names of all layers into one tree.
///
/// # Errors
/// With the layer and entry that is wrong.
pub fn tree(image: &Image, limits: &Limits) -> Result<Tree, BuildError> {
    scanned(image, limits, &Quiet, Check::Now).map(|scanned| scanned.tree)
}

/// Whether a tree can be laid out with the memory that is allowed.
pub(crate) fn affordable(tree: &Tree, size: Size, limits: &Limits) -> Result<(), BuildError> {
    let needs = memory::to_lay_out(tree, size);
    if needs <= limits.memory_of_names() {
        return Ok(());
    }
    Err(BuildError::Memory { names: tree.len(), needs: Limits::memory_for(needs), allowed: limits.memory })
}

/// Makes the file system of an image, on the disk when this returns. The file must not be there yet; after an error there
/// is none.
///
/// # Errors
/// When the image is wrong, does not fit, or the file cannot be written.
pub fn build(
    image: &Image,
    path: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let progress = Timed::new(progress);
    let limits = &options.limits;
    let Scanned { mut tree, unread } = scanned(image, limits, &progress, Check::Later)?;
    progress.begin(Stage::Layout, None);
    let mut name = format!("{CONVERTER}\n{}\n", image.id);
    let mut added = None;
    if let Some(init) = &options.init {
        added = Some(Added::to(&mut tree, image, init)?);
        name.push_str(&format!("{}\n", init.digest()));
    }
    affordable(&tree, options.size, limits)?;
    let plan = options.writer.writer().plan(&tree, Digest::of(name.as_bytes()), options.size)?;
    let write = |why| BuildError::Write { path: path.into(), why };
    room(path.parent().unwrap_or(path), plan.allocates().map_err(write)?)?;
    progress.begin(Stage::Write, Some(plan.content()));
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(write)?;
    let removing = Removing::new(path);
    let mut writing = plan.write(path, file.try_clone().map_err(write)?).map_err(write)?;
    let wanted = tree.layers();
    let (content, sha256) = std::thread::scope(|scope| {
        let mut following = Following::begin(scope, &file).map_err(write)?;
        for (number, seen) in unread.iter().enumerate() {
            let index = u32::try_from(number).unwrap_or(u32::MAX);
            let is_wanted = wanted.contains(&index);
            if !is_wanted && seen.is_none() {
                continue;
            }
            let mut full = None;
            let read = reread(image, number, limits, seen.as_ref(), |entry, reader| {
                if !is_wanted {
                    return Ok(());
                }
                let taken = writing.fill(index, entry, reader).map_err(|why| match why.kind() {
                    // Reading cannot fail so: it is not the layer that is to blame.
                    kind @ (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                        full = Some(why);
                        kind.into()
                    }
                    _ => why,
                })?;
                progress.advance(taken);
                following.settled(writing.settled());
                Ok(())
            });
            match full {
                Some(why) => return Err(write(why)),
                None => read?,
            }
        }
        if let Some(added) = &added {
            progress.advance(added.contents(|layer, entry, reader| writing.fill(layer, entry, reader))?);
        }
        let settled = writing.settled();
        let content = writing.finish().map_err(write)?;
        progress.begin(Stage::Sync, Some(plan.size()));
        let sha256 = following.finish(&file, settled, &progress).map_err(write)?;
        Ok::<_, BuildError>((content, sha256))
    })?;
    removing.keep();
    Ok(Built { size: plan.size(), sha256, content, inodes: tree.len(), stages: progress.stages() })
}

/// Reads a layer once more, whose headers must be those that were seen the first time.
fn reread(
    image: &Image,
    number: usize,
    limits: &Limits,
    seen: Option<&Headers>,
    mut visit: impl FnMut(u32, &mut dyn Read) -> io::Result<()>,
) -> Result<(), BuildError> {
    let index = u32::try_from(number).unwrap_or(u32::MAX);
    let opened = image.layer(number).map_err(|why| BuildError::Read { layer: number, why })?;
    let mut again = seen.map(Headers::again);
    let found = each(index, opened, limits, |entry, header, reader| {
        if let Some(again) = &mut again {
            again.add(header);
        }
        visit(entry, reader)
    })?;
    match image.config.rootfs.diff_ids.get(number) {
        Some(&expected) if expected != found => {
            return Err(BuildError::Damaged { layer: number, expected, found });
        }
        _ => {}
    }
    match (seen, &again) {
        (Some(seen), Some(again)) if !again.same(seen) => Err(BuildError::Changed { layer: number }),
        _ => Ok(()),
    }
}

/// Why no file system came of an image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Far more layers than an image has.
    #[error("the image has more than {0} layers")]
    Layers(usize),
    /// A layer cannot be read.
    #[error("layer {} cannot be read: {why}", .layer + 1)]
    Read {
        /// Which, from 0.
        layer: usize,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// A layer is not what the image says.
    #[error("layer {} is damaged: it should be {expected} and is {found}", .layer + 1)]
    Damaged {
        /// Which, from 0.
        layer: usize,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A layer was another one when it was read for the second time.
    #[error("layer {} was changed while the image was read; try again", .layer + 1)]
    Changed {
        /// Which, from 0.
        layer: usize,
    },
    /// A layer is malformed, or asks for too much.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer contradicts those below it.
    #[error("layer {}, {why}", .layer + 1)]
    Merge {
        /// Which, from 0.
        layer: usize,
        /// What cannot be.
        #[source]
        why: MergeError,
    },
    /// The tree cannot become a file system.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It would take more memory than is allowed, of which nothing was taken yet.
    #[error(
        "laying out its {names} names takes about {} MiB of memory, and {} MiB are allowed",
        .needs >> 20,
        .allowed >> 20
    )]
    Memory {
        /// Files, folders, links and devices.
        names: usize,
        /// Bytes that would do, in whole MiB.
        needs: u64,
        /// [`Limits::memory`].
        allowed: u64,
    },
    /// The init program cannot be placed.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The disk has too little room for the file, of which nothing was written.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The file cannot be written.
    #[error("{} cannot be written: {why}", .path.display())]
    Write {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}
