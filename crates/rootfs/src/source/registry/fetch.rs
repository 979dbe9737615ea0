//! The blobs of an image, each to its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::RegistryError;
use super::client::{Client, TRIES};
use crate::source::blobs::Blobs;
use crate::source::oci::{self, Descriptor, Manifest};
use crate::source::spool::{self, Spool, SpoolError, SpoolSender};
use crate::source::{Found, Image, LayerBlob, MOST_DOCUMENT};
use crate::{Digest, Limits, Progress, Stage};

/// Blobs that come at a time: as many as Docker's own client fetches.
const AT_A_TIME: usize = 3;

/// A blob and its place.
#[derive(Clone, Copy, Debug)]
struct Place {
    digest: Digest,
    at: u64,
    size: u64,
}

/// The image of a manifest.
pub(super) async fn image(
    client: &Client,
    manifest: &Manifest,
    way: Vec<Digest>,
    spool: &Path,
    progress: &dyn Progress,
) -> Result<Image, RegistryError> {
    let limits = Limits::default();
    let (places, total) = places(manifest, &limits)?;
    let layer = |one: &Descriptor| Ok(LayerBlob { name: oci::blob(one)?, digest: Some(oci::digest(one)?) });
    let found = Found {
        config: oci::blob(&manifest.config).map_err(RegistryError::Image)?,
        config_digest: Some(oci::digest(&manifest.config).map_err(RegistryError::Image)?),
        layers: manifest.layers.iter().map(layer).collect::<Result<_, _>>().map_err(RegistryError::Image)?,
        manifests: way,
    };
    spool::room(spool, total).await?;
    progress.begin(Stage::Fetch, Some(total));
    let kept = Spool::begin(spool, total);
    let all = {
        let sender = kept.sender();
        let one = |place: Place| blob(client, place, sender.clone(), progress);
        let blobs: Vec<_> = places.iter().copied().map(one).collect();
        futures_util::stream::iter(blobs).buffer_unordered(AT_A_TIME).try_collect::<()>().await
    };
    let file = match all {
        Ok(()) | Err(RegistryError::Spool(SpoolError::Ended)) => kept.finish().await?,
        Err(error) => return Err(error),
    };
    let named = places.iter().map(|one| (format!("blobs/sha256/{}", one.digest.hex()), one.at, one.size));
    Image::of(Blobs::parts(file, named), found).map_err(RegistryError::Image)
}

/// Where each blob goes, one behind the other, and how much they are together. One that is named twice comes once.
fn places(manifest: &Manifest, limits: &Limits) -> Result<(Vec<Place>, u64), RegistryError> {
    if manifest.layers.len() > limits.layers {
        return Err(RegistryError::TooMuch { most: limits.layers as u64, what: "layers" });
    }
    if manifest.config.size > MOST_DOCUMENT {
        return Err(RegistryError::Large { name: manifest.config.digest.clone(), most: MOST_DOCUMENT });
    }
    let mut sizes = BTreeMap::new();
    let mut places = Vec::new();
    let mut total = 0_u64;
    for one in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let digest = oci::digest(one).map_err(RegistryError::Image)?;
        if sizes.insert(digest, one.size).is_some() {
            continue;
        }
        places.push(Place { digest, at: total, size: one.size });
        total = total
            .checked_add(one.size)
            .filter(|&total| total <= limits.bytes)
            .ok_or(RegistryError::TooMuch { most: limits.bytes, what: "bytes" })?;
    }
    Ok((places, total))
}

/// One blob, from its beginning again when the registry breaks off.
async fn blob(
    client: &Client,
    place: Place,
    to: SpoolSender,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    // What was told already is not told again.
    let told = AtomicU64::new(0);
    let mut tries = 1;
    loop {
        match attempt(client, place, &to, progress, &told).await {
            Err(RegistryError::BrokeOff { .. }) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

async fn attempt(
    client: &Client,
    place: Place,
    to: &SpoolSender,
    progress: &dyn Progress,
    told: &AtomicU64,
) -> Result<(), RegistryError> {
    let Place { digest, at, size } = place;
    let longer = || RegistryError::Longer { digest, expected: size };
    let mut response = client.get(&format!("blobs/{digest}"), "*/*").await?;
    if response.content_length().is_some_and(|said| said > size) {
        return Err(longer());
    }
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    loop {
        // However it ends early, it is worth another try.
        let Ok(Some(chunk)) = response.chunk().await else { break };
        let len = chunk.len() as u64;
        if bytes + len > size {
            return Err(longer());
        }
        hash.update(&chunk);
        to.write(at + bytes, chunk).await?;
        bytes += len;
        let before = told.fetch_max(bytes, Ordering::Relaxed);
        progress.advance(bytes.saturating_sub(before));
    }
    if bytes < size {
        let registry = client.registry().to_owned();
        return Err(RegistryError::BrokeOff { registry, digest, bytes, expected: size });
    }
    let found = Digest::from_hash(hash);
    if found != digest {
        return Err(RegistryError::Damaged { expected: digest, found });
    }
    Ok(())
}
