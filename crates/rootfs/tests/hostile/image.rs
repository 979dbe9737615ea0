//! Layers as an image in a folder of its own, and what becomes of it.

use std::path::{Path, PathBuf};

use mkext4::reader::Fs;
use rootfs::build::{BuildError, Built, Options, build};
use rootfs::source::{Choice, Image, SourceError};
use rootfs::{Digest, Limits, Quiet};
use serde_json::{Value, json};

/// A folder with a layout in it, something that is not the image's, and the file that is built.
pub(crate) struct Layout {
    folder: tempfile::TempDir,
}

impl Layout {
    /// One without images.
    pub(crate) fn new() -> Self {
        let layout = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(layout.path().join("blobs/sha256")).unwrap();
        std::fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        layout
    }

    /// One with an image of these layers.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        let layout = Self::new();
        let image = layout.image(layers);
        layout.index(&[image]);
        layout
    }

    /// Where the layout is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    /// Beside it, where nothing of an image may ever come.
    pub(crate) fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// Where the file system is built.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("rootfs.ext4")
    }

    /// Where a blob is.
    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }

    /// Keeps a blob.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(self.blob_path(digest), bytes).unwrap();
        digest
    }

    /// Keeps a document; its descriptor.
    pub(crate) fn document(&self, kind: &str, document: &Value) -> Value {
        let text = document.to_string();
        json!({"mediaType": format!("application/vnd.oci.image.{kind}+json"), "size": text.len(),
               "digest": self.blob(text.as_bytes()).to_string()})
    }

    /// An image; its descriptor.
    pub(crate) fn image(&self, layers: &[Vec<u8>]) -> Value {
        let plain: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        self.packed_image(layers, &plain)
    }

    /// An image whose layers are packed, with the digests of what they unpack to.
    pub(crate) fn packed_image(&self, layers: &[Vec<u8>], plain: &[Digest]) -> Value {
        let diff_ids: Vec<_> = plain.iter().map(ToString::to_string).collect();
        let config = json!({"architecture": rootfs::source::host_architecture(), "os": "linux",
                            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.document("config.v1", &config);
        let layers: Vec<_> =
            layers.iter().map(|layer| json!({"digest": self.blob(layer).to_string()})).collect();
        self.document("manifest.v1", &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    /// Names the images.
    pub(crate) fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<Image, SourceError> {
        Image::open(&self.path(), &Choice::default())
    }

    /// Builds it.
    pub(crate) fn build(&self, limits: Limits) -> Result<Built, BuildError> {
        build(&self.open().unwrap(), &self.out(), &Options { limits, ..Options::default() }, &Quiet)
    }

    /// Builds it, checks the file system, and hands out what is in a file of it.
    pub(crate) fn built(&self) -> Fs<std::fs::File> {
        self.build(Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        let fs = Fs::open(std::fs::File::open(self.out()).unwrap()).unwrap();
        let issues = fs.verify().unwrap();
        assert!(issues.is_empty(), "{issues:?}");
        fs
    }
}

/// The content of a file of a file system.
pub(crate) fn content(fs: &Fs<std::fs::File>, path: &str) -> Vec<u8> {
    fs.read_file(fs.resolve(path).unwrap()).unwrap()
}
