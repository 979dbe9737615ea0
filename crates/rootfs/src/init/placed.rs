//! An init program in a tree.

use super::{FOLDER, Init};
use crate::source::Image;
use crate::{Content, Digest, Meta, Node, NodeKind, Tree, image_file};

/// The layer that content of ours is counted to; an image has far fewer.
pub(crate) const LAYER: u32 = u32::MAX;

/// A program and the document that it reads, on their way into a file system.
pub(crate) struct Placed<'a> {
    init: &'a Init,
    document: Vec<u8>,
}

impl<'a> Placed<'a> {
    pub(crate) fn new(image: &Image, init: &'a Init) -> Self {
        Self { init, document: image_file::inside(image) }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.init.digest()
    }

    /// The content, by the numbers of its entries.
    pub(crate) fn contents(&self) -> [(u32, &[u8]); 2] {
        [(0, self.init.bytes()), (1, &self.document)]
    }

    /// Gives both their names. Their times are 0, so that the same program makes the same bytes.
    pub(crate) fn place(&self, tree: &mut Tree) -> Result<(), Taken> {
        if tree.child(Tree::ROOT, FOLDER).is_some() {
            return Err(Taken);
        }
        let folder = tree.add(Node::directory(Meta { mode: 0o755, ..Meta::default() }));
        tree.link(Tree::ROOT, FOLDER, folder);
        for ((name, mode), (entry, content)) in
            [(&b"init"[..], 0o755), (b"image.json", 0o644)].into_iter().zip(self.contents())
        {
            let content = Content { layer: LAYER, entry, size: content.len() as u64, data: None };
            let meta = Meta { mode, ..Meta::default() };
            let node = tree.add(Node { meta, kind: NodeKind::File(content) });
            tree.link(folder, name, node);
        }
        Ok(())
    }
}

/// The image has what is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image has a /.clarateach of its own, so no init program can be placed there; convert it without one"
)]
pub struct Taken;
