//! Where images come from: what `docker save` and `skopeo` write, OCI layouts, engines and registries.
//!
//! All of them are a set of named blobs, a small document that says which of them are the image's configuration and
//! layers, and digests. Blobs are read twice, once for the names and once for the content, so they stay where they are,
//! and what comes over a wire is kept in a file without a name until the image is dropped.

mod blobs;
mod docker;
#[cfg(feature = "engine")]
pub mod engine;
mod oci;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(any(feature = "engine", feature = "registry"))]
mod spool;

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

pub use self::blobs::BlobError;
use self::blobs::Blobs;
#[cfg(any(feature = "engine", feature = "registry"))]
pub use self::spool::SpoolError;
use crate::path::shown;
use crate::{Digest, ImageConfig};

/// The largest document of an image: manifests of hundreds of layers have a hundredth of it.
const MOST_DOCUMENT: u64 = 8 << 20;

/// Which of several images is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The name and tag, or the end of it; needed when there are several. One that is written like this goes before one that
    /// ends like this.
    pub name: Option<String>,
    /// The processor, in Go's words; this host's unless said.
    pub architecture: Option<String>,
}

/// An image that can be read.
#[derive(Debug)]
pub struct Image {
    /// What it says about running it.
    pub config: ImageConfig,
    /// The configuration as it is written.
    pub config_text: Vec<u8>,
    /// Its digest, which names the image.
    pub id: Digest,
    blobs: Blobs,
    layers: Vec<LayerBlob>,
    /// The digests of the indexes and the manifest that led to it, where there are any.
    manifests: Vec<Digest>,
}

/// A layer as it is stored.
#[derive(Clone, Debug)]
struct LayerBlob {
    name: String,
    /// The digest of the stored bytes, where the image names it.
    digest: Option<Digest>,
}

impl Image {
    /// Opens an image: a file that `docker save` wrote, an OCI layout in a file, or one in a folder.
    ///
    /// # Errors
    /// When it is none of these, is damaged, or has no image for this choice.
    pub fn open(path: &Path, choice: &Choice) -> Result<Self, SourceError> {
        let blobs = Blobs::open(path).map_err(|why| SourceError::Blob { path: path.into(), why })?;
        Self::among(blobs, choice).map_err(|why| SourceError::Wrong { path: path.into(), why })
    }

    /// The names that a file or folder, as of [`Image::open`], gives its images, whole or in part, as they are written there.
    ///
    /// # Errors
    /// When it is no image, or is damaged.
    pub fn names(path: &Path) -> Result<Vec<String>, SourceError> {
        let blobs = Blobs::open(path).map_err(|why| SourceError::Blob { path: path.into(), why })?;
        let names = if is_layout(&blobs) {
            oci::names(&blobs)
        } else if blobs.has("manifest.json") {
            docker::names(&blobs)
        } else {
            Err(Wrong::NoImage)
        };
        names.map_err(|why| SourceError::Wrong { path: path.into(), why })
    }

    /// The image that is meant among those of these blobs.
    fn among(blobs: Blobs, choice: &Choice) -> Result<Self, Wrong> {
        let is_layout = is_layout(&blobs);
        let found = if is_layout {
            oci::find(&blobs, choice)?
        } else if blobs.has("manifest.json") {
            docker::find(&blobs, choice)?
        } else {
            return Err(Wrong::NoImage);
        };
        let image = Self::of(blobs, found)?;
        // In an index it was looked for; everything else is for one processor.
        match &choice.architecture {
            Some(wanted) if !is_layout && *wanted != image.config.architecture => {
                let there = format!("one for {}", shown(image.config.architecture.as_bytes()));
                Err(Wrong::NoSuch { wanted: format!("for {wanted}"), there })
            }
            _ => Ok(image),
        }
    }

    /// The image that these of the blobs make.
    fn of(blobs: Blobs, found: Found) -> Result<Self, Wrong> {
        let (config_text, id) = document(&blobs, &found.config, found.config_digest)?;
        let config: ImageConfig = parsed(&found.config, &config_text)?;
        if config.rootfs.diff_ids.len() != found.layers.len() {
            let (named, stored) = (config.rootfs.diff_ids.len(), found.layers.len());
            return Err(Wrong::Layers { named, stored });
        }
        Ok(Self { config, config_text, id, blobs, layers: found.layers, manifests: found.manifests })
    }

    /// Whether a digest names this image: that of its configuration, or of a manifest or index that led to it.
    #[must_use]
    pub fn is(&self, digest: &Digest) -> bool {
        self.id == *digest || self.manifests.contains(digest)
    }

    /// How many layers it has.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The bytes of a layer as they are stored.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn layer(&self, number: usize) -> io::Result<impl Read + Seek + Send + use<>> {
        let layer = self.layers.get(number).ok_or(io::ErrorKind::NotFound)?;
        self.blobs.read(&layer.name).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// The digest that the stored bytes of a layer must have, where the image names it.
    #[must_use]
    pub fn layer_digest(&self, number: usize) -> Option<Digest> {
        self.layers.get(number)?.digest
    }
}

fn is_layout(blobs: &Blobs) -> bool {
    blobs.has("index.json") && blobs.has("oci-layout")
}

/// Which blobs make an image.
struct Found {
    config: String,
    config_digest: Option<Digest>,
    layers: Vec<LayerBlob>,
    manifests: Vec<Digest>,
}

/// A small blob as a whole, with its digest.
fn document(blobs: &Blobs, name: &str, expected: Option<Digest>) -> Result<(Vec<u8>, Digest), Wrong> {
    let blob = |why| Wrong::Blob { name: name.to_owned(), why };
    let mut text = Vec::new();
    let reader = blobs.read(name).map_err(blob)?;
    let read = reader.take(MOST_DOCUMENT + 1).read_to_end(&mut text);
    read.map_err(|error| blob(BlobError::Io(error)))?;
    if text.len() as u64 > MOST_DOCUMENT {
        return Err(Wrong::Large { name: name.to_owned() });
    }
    let digest = Digest::of(&text);
    match expected {
        Some(expected) if expected != digest => {
            Err(Wrong::Digest { name: name.to_owned(), expected, found: digest })
        }
        _ => Ok((text, digest)),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(name: &str, text: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(text).map_err(|why| Wrong::Json { name: name.to_owned(), why })
}

/// The architecture of this host, in Go's words.
#[must_use]
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The names of images for a message, as far as they have a place in one.
fn listed(names: &str) -> String {
    const MOST: usize = 20;
    let all: Vec<_> = names.split(", ").collect();
    let mut some: Vec<_> = all.iter().take(MOST).map(|name| shown(name.as_bytes())).collect();
    if all.len() > MOST {
        some.push(format!("and {} more", all.len() - MOST));
    }
    some.join(", ")
}

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file or folder cannot be read.
    #[error("{}: {why}", .path.display())]
    Blob {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        why: BlobError,
    },
    /// It is no image, or not the one that is wanted.
    #[error("{}: {why}", .path.display())]
    Wrong {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        why: Wrong,
    },
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It has neither of the documents that images have.
    #[error("it is no image: it has neither manifest.json nor index.json")]
    NoImage,
    /// There is none for this choice.
    #[error("it has no image {wanted}; it has {}", listed(.there))]
    NoSuch {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// There are several.
    #[error("it has several images, and none was chosen: {}", listed(.there))]
    Several {
        /// What there is.
        there: String,
    },
    /// A blob cannot be read.
    #[error("{}: {why}", shown(.name.as_bytes()))]
    Blob {
        /// Which.
        name: String,
        /// Why.
        #[source]
        why: BlobError,
    },
    /// A document that is far too large.
    #[error("{} has more than {MOST_DOCUMENT} bytes", shown(.name.as_bytes()))]
    Large {
        /// Which.
        name: String,
    },
    /// A blob is not what its name says.
    #[error("{} is damaged: it should be {expected} and is {found}", shown(.name.as_bytes()))]
    Digest {
        /// Which.
        name: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A document that is none.
    #[error("{} is no document of an image: {}", shown(.name.as_bytes()), shown(.why.to_string().as_bytes()))]
    Json {
        /// Which.
        name: String,
        /// Why.
        #[source]
        why: serde_json::Error,
    },
    /// The configuration and the manifest contradict each other.
    #[error("its configuration names {named} layers, and it has {stored}")]
    Layers {
        /// Layers of the configuration.
        named: usize,
        /// Layers of the manifest.
        stored: usize,
    },
    /// A kind of document that is not known.
    #[error("{} is of the kind \"{}\", which is no image", shown(.name.as_bytes()), shown(.media_type.as_bytes()))]
    Kind {
        /// Which.
        name: String,
        /// Its kind.
        media_type: String,
    },
    /// An index of an index of an index …
    #[error("its indexes are nested too deeply")]
    Nested,
}
