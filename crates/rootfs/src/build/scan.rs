//! The first reading: the names of all layers, merged.

use std::io;

use super::BuildError;
use crate::digest::Hashing;
use crate::layer::{Budget, Headers, Layer, is_plain, names, scan};
use crate::merge::apply;
use crate::source::Image;
use crate::{Digest, Entry, Limits, Progress, Stage, Tree};

/// When the bytes of layers are compared with their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Before anything is made of them.
    Now,
    /// When they are read for their content, where their names can be had without reading all of them.
    Later,
}

/// What the layers come to.
pub(super) struct Scanned {
    pub(super) tree: Tree,
    /// Of each layer what was seen of it, when it was not read whole.
    pub(super) unread: Vec<Option<Headers>>,
}

/// Reads the names of all layers into one tree.
pub(super) fn scanned(
    image: &Image,
    limits: &Limits,
    progress: &dyn Progress,
    check: Check,
) -> Result<Scanned, BuildError> {
    progress.begin(Stage::Scan, None);
    if image.layers() > limits.layers {
        return Err(BuildError::Layers(limits.layers));
    }
    let mut budget = Budget::new(*limits);
    let mut tree = Tree::new();
    let mut unread = Vec::new();
    for (number, &diff_id) in image.config.rootfs.diff_ids.iter().enumerate() {
        budget.begin(&tree);
        let (entries, bytes, seen) = layer(image, number, diff_id, &mut budget, check)?;
        progress.advance(bytes);
        apply(&mut tree, &entries, limits).map_err(|why| BuildError::Merge { layer: number, why })?;
        unread.push(seen);
    }
    Ok(Scanned { tree, unread })
}

/// The entries of one layer, its unpacked bytes, and what was seen if that was not all.
fn layer(
    image: &Image,
    number: usize,
    diff_id: Digest,
    budget: &mut Budget,
    check: Check,
) -> Result<(Vec<Entry>, u64, Option<Headers>), BuildError> {
    let index = u32::try_from(number).unwrap_or(u32::MAX);
    let read = |why| BuildError::Read { layer: number, why };
    let mut opened = image.layer(number).map_err(read)?;
    // A plain layer is its own blob, and a blob without a digest is known by what it unpacks to: one hash is enough.
    let packed = image.layer_digest(number).filter(|digest| *digest != diff_id);
    let layer = match packed {
        None if check == Check::Later && is_plain(&mut opened).map_err(read)? => {
            let (entries, bytes, seen) = names(index, opened, budget, Headers::new())?;
            return Ok((entries, bytes, Some(seen)));
        }
        None => scan(index, opened, budget)?,
        Some(expected) => {
            let mut stored = Hashing::new(opened);
            let layer = scan(index, &mut stored, budget)?;
            // What follows the packed stream is part of the blob as well.
            io::copy(&mut stored, &mut io::sink()).map_err(read)?;
            let (found, _) = stored.finish();
            if found != expected {
                return Err(BuildError::Damaged { layer: number, expected, found });
            }
            layer
        }
    };
    let Layer { entries, diff_id: found, bytes } = layer;
    if found != diff_id {
        return Err(BuildError::Damaged { layer: number, expected: diff_id, found });
    }
    Ok((entries, bytes, None))
}
