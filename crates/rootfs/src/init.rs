//! A program that is placed in a file system, so that the file boots by itself.

mod placed;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use self::placed::Taken;
pub(crate) use self::placed::{LAYER, Placed};
use crate::Digest;

/// The folder for what is not the image's own.
pub const FOLDER: &[u8] = b".clarateach";
/// Where the program is, for the kernel's `init=`.
pub const PROGRAM: &str = "/.clarateach/init";
/// Where the image's configuration is, for the program to read.
pub const IMAGE_FILE: &str = "/.clarateach/image.json";
/// The largest program, in bytes.
pub const MOST: u64 = 256 << 20;

/// The program, read as a whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Init {
    bytes: Vec<u8>,
    digest: Digest,
}

impl std::fmt::Debug for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Init").field("digest", &self.digest).field("size", &self.bytes.len()).finish()
    }
}

impl Init {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no file, is larger than [`MOST`], or cannot be read.
    pub fn read(path: &Path) -> Result<Self, InitError> {
        let fail = |why| InitError { path: path.into(), why };
        let file = File::open(path).map_err(|error| fail(error.into()))?;
        let about = file.metadata().map_err(|error| fail(error.into()))?;
        if !about.is_file() {
            return Err(fail(BadInit::NoFile));
        }
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| fail(error.into()))?;
        if bytes.len() as u64 > MOST {
            return Err(fail(BadInit::Large));
        }
        if bytes.is_empty() {
            return Err(fail(BadInit::Empty));
        }
        let digest = Digest::of(&bytes);
        Ok(Self { bytes, digest })
    }

    /// The digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A program that cannot be placed.
#[derive(Debug, thiserror::Error)]
#[error("the init program {} cannot be used: {why}", .path.display())]
pub struct InitError {
    /// Where it is.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub why: BadInit,
}

/// What is wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum BadInit {
    /// A folder, a device, a pipe.
    #[error("it is not a regular file")]
    NoFile,
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Too much in it.
    #[error("it has more than {MOST} bytes")]
    Large,
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_something_in_them_are_programs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init");
        let why = |path: &Path| Init::read(path).unwrap_err().why;
        assert!(matches!(why(&path), BadInit::Io(_)));
        assert!(matches!(why(folder.path()), BadInit::NoFile));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(why(&path), BadInit::Empty));
        File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(matches!(why(&path), BadInit::Large));
        std::fs::write(&path, "#!").unwrap();
        assert_eq!(Init::read(&path).unwrap().digest(), Digest::of(b"#!"));
    }
}
