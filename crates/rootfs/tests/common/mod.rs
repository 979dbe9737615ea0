//! Images that tests make.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "every test takes what it needs, and may stop at the first surprise"
)]

use std::path::{Path, PathBuf};

use rootfs::Digest;
use rootfs::source::host_architecture;
use serde_json::{Value, json};

/// A layer with one file.
pub(crate) fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o640);
    header.set_uid(1000);
    header.set_gid(100);
    archive.append_data(&mut header, path, content).unwrap();
    archive.into_inner().unwrap()
}

/// A layout that is being made.
pub(crate) struct Layout {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Layout {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layout");
        std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self { _folder: folder, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(self.blob_path(digest), bytes).unwrap();
        digest
    }

    /// A descriptor of a blob.
    pub(crate) fn document(&self, kind: &str, document: &Value) -> Value {
        let text = document.to_string();
        json!({"mediaType": format!("application/vnd.oci.image.{kind}+json"), "size": text.len(),
               "digest": self.blob(text.as_bytes()).to_string()})
    }

    /// An image of these layers; its descriptor.
    pub(crate) fn image(&self, layers: &[Vec<u8>]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({"architecture": host_architecture(), "os": "linux",
                            "config": {"Entrypoint": ["/init"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.document("config.v1", &config);
        let layers: Vec<_> =
            layers.iter().map(|layer| json!({"digest": self.blob(layer).to_string()})).collect();
        self.document("manifest.v1", &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    pub(crate) fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// An archive of it beside it, which goes with it.
    pub(crate) fn archive(&self) -> PathBuf {
        let file = self.path().with_extension("tar");
        let mut archive = tar::Builder::new(std::fs::File::create(&file).unwrap());
        archive.append_dir_all(".", self.path()).unwrap();
        archive.finish().unwrap();
        file
    }
}
