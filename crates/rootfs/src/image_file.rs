//! `image.json`: what a file system was made from, and what its image says about running it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::source::Image;
use crate::{Digest, ImageConfig, RunConfig};

/// The version of the document.
pub const SCHEMA: u32 = 1;
/// The largest document that is read, in bytes.
const MOST: u64 = 8 << 20;

/// The document beside a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFile {
    /// [`SCHEMA`]; a reader refuses a newer one.
    pub schema: u32,
    /// The image: the digest of its configuration.
    pub image: Digest,
    /// The processor, in Go's words.
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// The version of the converter.
    pub converter: String,
    /// The digest of the init program that was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Digest>,
    /// What wrote the file system.
    pub writer: String,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// The digest of the whole file.
    pub sha256: Digest,
    /// How to run the image.
    pub config: RunConfig,
    /// What the image was called when it was converted.
    #[serde(default)]
    pub names: Vec<String>,
}

impl ImageFile {
    /// Where the document of a file system is: `image.json` beside `rootfs.ext4`, and `NAME.image.json` beside
    /// `NAME.ext4`, so that several can lie in one folder.
    #[must_use]
    pub fn path_beside(rootfs: &Path) -> PathBuf {
        match rootfs.file_stem() {
            None => rootfs.with_file_name("image.json"),
            Some(stem) if stem == "rootfs" => rootfs.with_file_name("image.json"),
            Some(stem) => {
                let mut name = stem.to_owned();
                name.push(".image.json");
                rootfs.with_file_name(name)
            }
        }
    }

    /// Writes it and waits until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = fs::File::create(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read, is none, or is of a newer version than [`SCHEMA`].
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let found: Self = serde_json::from_reader(io::BufReader::new(io::Read::take(file, MOST)))?;
        if found.schema > SCHEMA {
            let why = format!("it is of version {}, and this program knows {SCHEMA}", found.schema);
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Ok(found)
    }
}

/// What the init program finds inside the file system: the same without what is known only once the file is there.
#[derive(Debug, Serialize)]
struct Inside<'a> {
    schema: u32,
    image: Digest,
    architecture: &'a str,
    os: &'a str,
    config: &'a RunConfig,
}

/// The document that is placed beside an init program.
pub(crate) fn inside(image: &Image) -> Vec<u8> {
    let ImageConfig { architecture, os, config, .. } = &image.config;
    let document = Inside { schema: SCHEMA, image: image.id, architecture, os, config };
    // Strings and maps of strings: there is nothing in it that JSON cannot say.
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/store/abc/rootfs.ext4", "/store/abc/image.json")]
    #[case("rootfs.ext4", "image.json")]
    #[case("out/node.ext4", "out/node.image.json")]
    #[case("out/node.v1.img", "out/node.v1.image.json")]
    #[case("disk", "disk.image.json")]
    fn every_file_system_has_a_place_for_its_document(#[case] rootfs: &str, #[case] document: &str) {
        assert_eq!(ImageFile::path_beside(Path::new(rootfs)), Path::new(document));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_newer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.json");
        let mut file = ImageFile {
            schema: SCHEMA,
            image: Digest::of(b"image"),
            architecture: "amd64".into(),
            os: "linux".into(),
            converter: "1".into(),
            init: Some(Digest::of(b"init")),
            writer: "mkext4".into(),
            size: 4096,
            sha256: Digest::of(b"file"),
            config: RunConfig { user: "learner".into(), env: vec!["A=b".into()], ..RunConfig::default() },
            names: vec!["a:latest".into()],
        };
        file.write(&path).unwrap();
        assert_eq!(ImageFile::read(&path).unwrap(), file);
        file.schema += 1;
        file.write(&path).unwrap();
        assert_eq!(ImageFile::read(&path).unwrap_err().kind(), io::ErrorKind::Unsupported);
        fs::write(&path, "{").unwrap();
        assert!(ImageFile::read(&path).is_err());
    }
}
