//! An OCI layout of the saved image, its layers packed as registries keep them.
//!
//! `docker save` names the configuration after its digest and the layers' digests in it, so that only what is packed
//! has to be hashed anew (OCI image specification 1.1, image-layout.md).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::made::sha256;
use super::rounds::Ground;
use super::sweep;

/// `gzip` at its usual level, without a time in its header. Layers that are alike are links to each other.
const PACK: &str = r#"
mkdir saved
tar --extract --file image.tar --directory saved
cd saved
for layer in $(find . -name layer.tar); do gzip --no-name --stdout "$layer" > "$layer.gz"; done
"#;

/// Makes `layout` of `image.tar` in the bench's folder.
pub(super) async fn make(ground: &Ground<'_>) -> Result<()> {
    ground.script(PACK, "").await?;
    let (saved, layout) = (ground.folder.join("saved"), ground.folder.join("layout"));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let list: Value = serde_json::from_slice(&fs::read(saved.join("manifest.json"))?)?;
    let config = list[0]["Config"].as_str().context("the archive names no configuration")?;
    let layers = list[0]["Layers"].as_array().context("the archive names no layers")?;

    let config = store(ground, &saved.join(config), &blobs, "config").await?;
    let mut packed = Vec::new();
    for layer in layers {
        let name = layer.as_str().context("a layer of the archive has no name")?;
        packed.push(store(ground, &saved.join(format!("{name}.gz")), &blobs, "layer").await?);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": packed,
    });
    let file = layout.join("manifest");
    fs::write(&file, manifest.to_string())?;
    let manifest = store(ground, &file, &blobs, "manifest").await?;
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    sweep::remove(&saved)
}

/// Makes a blob of a file; returns its descriptor.
async fn store(ground: &Ground<'_>, file: &Path, blobs: &Path, kind: &str) -> Result<Value> {
    let digest = sha256(file, ground.stop).await?;
    let blob = blobs.join(&digest);
    // The same empty layer may be there twice.
    if !blob.exists() {
        fs::rename(file, &blob).with_context(|| format!("{kind}: {}", file.display()))?;
    }
    let media_type = match kind {
        "config" => "application/vnd.oci.image.config.v1+json",
        "manifest" => "application/vnd.oci.image.manifest.v1+json",
        _ => "application/vnd.oci.image.layer.v1.tar+gzip",
    };
    let size = fs::metadata(&blob)?.len();
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size}))
}
