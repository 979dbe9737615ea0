//! OCI layouts (OCI image specification 1.1, image-layout.md, image-index.md, manifest.md).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::blobs::Blobs;
use super::docker::is_meant;
use super::{Choice, Found, LayerBlob, Wrong, document, host_architecture, parsed};
use crate::Digest;

const INDEX: &str = "index.json";
/// An index may name indexes: one for the tags, one for the platforms of each.
pub(super) const MOST_DEPTH: usize = 4;
/// How a layout names its images.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Debug, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    /// Its bytes. Of use to who fetches it.
    #[cfg(feature = "registry")]
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// The image that is meant.
pub(super) fn find(blobs: &Blobs, choice: &Choice) -> Result<Found, Wrong> {
    let (text, _) = document(blobs, INDEX, None)?;
    let index: Index = parsed(INDEX, &text)?;
    let architecture = choice.architecture.as_deref().unwrap_or(host_architecture());
    let named = named(index.manifests, choice)?;
    let mut manifests = Vec::new();
    let descriptor = platform(blobs, &named, architecture, &mut manifests)?;
    let name = blob(&descriptor)?;
    let (text, _) = document(blobs, &name, Some(digest(&descriptor)?))?;
    let manifest: Manifest = parsed(&name, &text)?;
    let layers = manifest.layers.iter();
    let layers = layers.map(|layer| Ok(LayerBlob { name: blob(layer)?, digest: Some(digest(layer)?) }));
    Ok(Found {
        config: blob(&manifest.config)?,
        config_digest: Some(digest(&manifest.config)?),
        layers: layers.collect::<Result<_, Wrong>>()?,
        manifests,
    })
}

/// The names of all images.
pub(super) fn names(blobs: &Blobs) -> Result<Vec<String>, Wrong> {
    let (text, _) = document(blobs, INDEX, None)?;
    let index: Index = parsed(INDEX, &text)?;
    let mut all: Vec<_> = index.manifests.iter().flat_map(names_of).collect();
    all.dedup();
    Ok(all)
}

fn names_of(one: &Descriptor) -> Vec<String> {
    let annotations = one.annotations.iter().flatten();
    annotations.filter(|(key, _)| NAMES.contains(&key.as_str())).map(|(_, name)| name.clone()).collect()
}

/// Those of the name that is wanted, or all when they are all of one name.
fn named(descriptors: Vec<Descriptor>, choice: &Choice) -> Result<Vec<Descriptor>, Wrong> {
    let there =
        |all: &[Descriptor]| all.iter().map(|one| names_of(one).join(" or ")).collect::<Vec<_>>().join(", ");
    match &choice.name {
        Some(wanted) => {
            // The name of a layout may be the tag alone.
            let tag = wanted
                .rsplit('/')
                .next()
                .and_then(|last| last.split_once(':'))
                .map_or("latest", |(_, tag)| tag);
            let of = |is_it: &dyn Fn(&String) -> bool| -> Vec<_> {
                descriptors.iter().filter(|one| names_of(one).iter().any(is_it)).cloned().collect()
            };
            let mut found = of(&|name| name == wanted);
            if found.is_empty() {
                found = of(&|name| is_meant(name, wanted) || name == tag);
            }
            if found.is_empty() {
                return Err(Wrong::NoSuch { wanted: wanted.clone(), there: there(&descriptors) });
            }
            Ok(found)
        }
        None => {
            let mut all: Vec<_> = descriptors.iter().map(names_of).collect();
            all.dedup();
            match all.len() {
                0 => Err(Wrong::NoImage),
                1 => Ok(descriptors),
                _ => Err(Wrong::Several { there: there(&descriptors) }),
            }
        }
    }
}

/// The manifest for a platform, through indexes within indexes; `way` becomes the digests of all of them.
fn platform(
    blobs: &Blobs,
    descriptors: &[Descriptor],
    architecture: &str,
    way: &mut Vec<Digest>,
) -> Result<Descriptor, Wrong> {
    if way.len() > MOST_DEPTH {
        return Err(Wrong::Nested);
    }
    let one = fitting(descriptors, architecture)?;
    way.push(digest(one)?);
    if is_index(&one.media_type) {
        let name = blob(one)?;
        let (text, _) = document(blobs, &name, Some(digest(one)?))?;
        let index: Index = parsed(&name, &text)?;
        return platform(blobs, &index.manifests, architecture, way);
    }
    if one.media_type.contains("manifest") {
        return Ok(one.clone());
    }
    Err(Wrong::Kind { name: one.digest.clone(), media_type: one.media_type.clone() })
}

/// The first that is for a processor, or does not say.
pub(super) fn fitting<'a>(
    descriptors: &'a [Descriptor],
    architecture: &str,
) -> Result<&'a Descriptor, Wrong> {
    let fits = |one: &&Descriptor| {
        one.platform
            .as_ref()
            .is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    descriptors.iter().find(fits).ok_or_else(|| {
        let there: Vec<_> = descriptors
            .iter()
            .filter_map(|one| one.platform.as_ref())
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        Wrong::NoSuch { wanted: format!("for linux/{architecture}"), there: there.join(", ") }
    })
}

pub(super) fn is_index(media_type: &str) -> bool {
    media_type.ends_with(".index.v1+json") || media_type.ends_with(".manifest.list.v2+json")
}

pub(super) fn digest(descriptor: &Descriptor) -> Result<Digest, Wrong> {
    let kind = || Wrong::Kind { name: descriptor.digest.clone(), media_type: descriptor.media_type.clone() };
    descriptor.digest.parse().map_err(|_| kind())
}

pub(super) fn blob(descriptor: &Descriptor) -> Result<String, Wrong> {
    Ok(format!("blobs/sha256/{}", digest(descriptor)?.hex()))
}
