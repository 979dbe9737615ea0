//! A small image as the blobs that a registry has.

use std::collections::BTreeMap;

use rootfs::Digest;
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Blobs, and the manifest that names them.
#[derive(Clone)]
pub struct Parts {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: Vec<u8>,
    /// The digest of the configuration.
    pub id: Digest,
    /// The digest of the larger layer.
    pub layer: String,
}

/// Two layers; the content is another for each `seed`.
pub fn parts(architecture: &str, seed: u8) -> Parts {
    let layers = [layer("etc/name", &[seed]), layer("data", &noise(seed, 400_000))];
    let ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/init"]},
                        "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| -> Value {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(),
               "digest": Digest::of(bytes).to_string()})
    };
    let named: Vec<_> = layers.iter().map(|bytes| descriptor("layer.v1.tar", bytes)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
                          "config": descriptor("config.v1+json", &config), "layers": named});
    let id = Digest::of(&config);
    let layer = Digest::of(&layers[1]).to_string();
    let blobs = layers.into_iter().chain([config]).map(|bytes| (Digest::of(&bytes).to_string(), bytes));
    Parts { blobs: blobs.collect(), manifest: manifest.to_string().into_bytes(), id, layer }
}

/// An index of images for several processors.
pub fn index(images: &[(&str, &Parts)]) -> Vec<u8> {
    let manifests: Vec<_> = images
        .iter()
        .map(|(architecture, parts)| {
            json!({"mediaType": MANIFEST, "size": parts.manifest.len(),
                   "digest": Digest::of(&parts.manifest).to_string(),
                   "platform": {"architecture": architecture, "os": "linux"}})
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
}

fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content).unwrap();
    archive.into_inner().unwrap()
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(len).collect()
}
