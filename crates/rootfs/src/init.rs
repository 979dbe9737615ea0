//! A program of ours in the file system, so that the file boots by itself with `init=/.clarateach/init`.
//!
//! ```text
//!   /.clarateach             folder, 0755, root
//!   /.clarateach/init        the program, 0755, root
//!   /.clarateach/image.json  what the image says about running it, 0644, root
//! ```
//!
//! All three have the time 0, so the same program in the same image gives the same bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Hashing;
use crate::source::Image;
use crate::tree::Node;
use crate::{Content, Digest, Meta, NodeKind, RunConfig, Tree};

/// The largest program, in bytes: a static one has a few MiB.
pub const MAX_INIT: u64 = 256 << 20;
/// The folder of what is ours.
const FOLDER: &[u8] = b".clarateach";
/// The layer that our files are said to come from: no image has as many.
const LAYER: u32 = u32::MAX;

/// A program that is placed in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    path: PathBuf,
    digest: Digest,
    size: u64,
}

impl Init {
    /// Takes a program of this host: its size and digest now, its bytes when a file system is made. Should it change
    /// between, that fails.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, is empty, or is larger than [`MAX_INIT`].
    pub fn open(path: &Path) -> Result<Self, InitError> {
        let read = |why| InitError::Read { path: path.into(), why };
        // Before it is opened: a named pipe would wait for its other end.
        let found = std::fs::metadata(path).map_err(read)?;
        let wrong = |why| InitError::Wrong { path: path.into(), why };
        if !found.is_file() {
            return Err(wrong("it is no regular file"));
        }
        let mut hashing = Hashing::new(File::open(path).map_err(read)?.take(MAX_INIT + 1));
        io::copy(&mut hashing, &mut io::sink()).map_err(read)?;
        let (digest, size) = hashing.finish();
        match size {
            0 => Err(wrong("it is empty")),
            1..=MAX_INIT => Ok(Self { path: path.into(), digest, size }),
            _ => Err(wrong("it has more than 256 MiB")),
        }
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// What the program finds as `/.clarateach/image.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitConfig {
    /// The version of this document: 1.
    pub schema: u32,
    /// The digest of the image's configuration.
    pub image: Digest,
    /// The processor, in Go's words.
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// How to run the image.
    pub config: RunConfig,
}

/// What is added to a tree, until it is written.
#[derive(Debug)]
pub(crate) struct Added<'a> {
    init: &'a Init,
    document: Vec<u8>,
}

impl<'a> Added<'a> {
    /// Puts the program and its document into the tree of an image.
    pub(crate) fn to(tree: &mut Tree, image: &Image, init: &'a Init) -> Result<Self, InitError> {
        if tree.child(Tree::ROOT, FOLDER).is_some() {
            return Err(InitError::Taken);
        }
        let config = InitConfig {
            schema: 1,
            image: image.id,
            architecture: image.config.architecture.clone(),
            os: image.config.os.clone(),
            config: image.config.config.clone(),
        };
        let mut document = serde_json::to_vec_pretty(&config).map_err(InitError::Document)?;
        document.push(b'\n');
        let folder = tree.add(Node::directory(Meta { mode: 0o755, ..Meta::default() }));
        tree.link(Tree::ROOT, FOLDER, folder);
        let files = [(&b"init"[..], 0o755, init.size), (b"image.json", 0o644, document.len() as u64)];
        for (entry, (name, mode, size)) in (0..).zip(files) {
            let content = Content { layer: LAYER, entry, size, data: None };
            let meta = Meta { mode, ..Meta::default() };
            let file = tree.add(Node { meta, kind: NodeKind::File(content) });
            tree.link(folder, name, file);
        }
        Ok(Self { init, document })
    }

    /// Gives the content of both files to `fill`, which takes layer, entry and bytes.
    pub(crate) fn contents(
        &self,
        mut fill: impl FnMut(u32, u32, &mut dyn Read) -> io::Result<u64>,
    ) -> Result<u64, InitError> {
        let path = &self.init.path;
        let read = |why| InitError::Read { path: path.clone(), why };
        let mut hashing = Hashing::new(File::open(path).map_err(read)?.take(self.init.size));
        let mut filled = fill(LAYER, 0, &mut hashing).map_err(read)?;
        if hashing.finish() != (self.init.digest, self.init.size) {
            return Err(InitError::Wrong { path: path.clone(), why: "it changed while it was used" });
        }
        filled += fill(LAYER, 1, &mut &self.document[..]).map_err(read)?;
        Ok(filled)
    }
}

/// Why a program cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It cannot be read, or not be written.
    #[error("the init program {} cannot be copied: {why}", .path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// It is none that can be used.
    #[error("{} cannot be the init program: {why}", .path.display())]
    Wrong {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The image has the path.
    #[error(
        "the image has /.clarateach already, where the init program would go; build it without one, or from an image without that path"
    )]
    Taken,
    /// Its document cannot be written.
    #[error("the image's configuration cannot be written as JSON: {0}")]
    Document(#[source] serde_json::Error),
}
