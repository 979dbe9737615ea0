//! `image.json`: what a file system was made of, beside it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::{Built, CONVERTER, Options};
use crate::source::Image;
use crate::{Digest, RunConfig};

/// What is kept beside a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFile {
    /// The version of this document: [`ImageFile::SCHEMA`].
    pub schema: u32,
    /// The digest of the image's configuration, which names the image whatever it came from.
    pub image: Digest,
    /// The processor, in Go's words.
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// The version of the converter: [`CONVERTER`].
    pub converter: String,
    /// The digest of the init program that was placed in it.
    pub init: Option<Digest>,
    /// What wrote it: `mkext4` or `mke2fs`.
    pub writer: String,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// The digest of the file, as `sha256sum` prints it.
    pub sha256: Digest,
    /// How to run the image.
    pub config: RunConfig,
    /// The names that the image was asked for by.
    pub names: Vec<String>,
}

impl ImageFile {
    /// The version that is written.
    pub const SCHEMA: u32 = 1;

    /// What is true of a file that was just made.
    #[must_use]
    pub fn new(image: &Image, options: &Options, built: &Built, names: Vec<String>) -> Self {
        Self {
            schema: Self::SCHEMA,
            image: image.id,
            architecture: image.config.architecture.clone(),
            os: image.config.os.clone(),
            converter: CONVERTER.to_owned(),
            init: options.init.as_ref().map(crate::Init::digest),
            writer: options.writer.as_str().to_owned(),
            size: built.size,
            sha256: built.sha256,
            config: image.config.config.clone(),
            names,
        }
    }

    /// Where it belongs: `image.json` beside `rootfs.ext4`, and `X.image.json` beside `X.ext4`.
    #[must_use]
    pub fn path_beside(rootfs: &Path) -> PathBuf {
        if rootfs.file_name().is_some_and(|name| name == "rootfs.ext4") {
            return rootfs.with_file_name("image.json");
        }
        let extension = rootfs.extension().is_some_and(|extension| extension == "ext4");
        let stem = if extension { rootfs.file_stem() } else { rootfs.file_name() };
        let mut name = stem.unwrap_or_default().to_owned();
        name.push(".image.json");
        rootfs.with_file_name(name)
    }

    /// Its text, as JSON that people can read.
    ///
    /// # Errors
    /// None that anybody has seen: everything in it is text and numbers.
    pub fn to_json(&self) -> io::Result<String> {
        let mut text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        text.push('\n');
        Ok(text)
    }

    /// Writes it, and waits until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(self.to_json()?.as_bytes())?;
        file.sync_all()
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it cannot be read or is none; of the kind `Unsupported` when it has another version.
    pub fn read(path: &Path) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let text = std::fs::read(path)?;
        // First of all: what else is in another version is not known.
        let Version { schema } = serde_json::from_slice(&text)?;
        if schema != Self::SCHEMA {
            let why = format!("{} has schema {schema}, and {} is known", path.display(), Self::SCHEMA);
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Ok(serde_json::from_slice(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_its_file_system() {
        let beside = |path: &str| ImageFile::path_beside(Path::new(path)).to_str().map(str::to_owned);
        assert_eq!(beside("/a/rootfs.ext4").as_deref(), Some("/a/image.json"));
        assert_eq!(beside("/a/b.ext4").as_deref(), Some("/a/b.image.json"));
        assert_eq!(beside("b.c.ext4").as_deref(), Some("b.c.image.json"));
        assert_eq!(beside("disk.img").as_deref(), Some("disk.img.image.json"));
    }
}
