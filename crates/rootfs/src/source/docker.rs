//! What `docker save` writes (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use serde::Deserialize;

use super::blobs::Blobs;
use super::{Choice, Found, LayerBlob, Wrong, document, parsed};

const MANIFEST: &str = "manifest.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn items(blobs: &Blobs) -> Result<Vec<Item>, Wrong> {
    let (text, _) = document(blobs, MANIFEST, None)?;
    parsed(MANIFEST, &text)
}

/// The names of all images.
pub(super) fn names(blobs: &Blobs) -> Result<Vec<String>, Wrong> {
    Ok(items(blobs)?.into_iter().filter_map(|item| item.repo_tags).flatten().collect())
}

/// The image that is meant.
pub(super) fn find(blobs: &Blobs, choice: &Choice) -> Result<Found, Wrong> {
    let items = items(blobs)?;
    let names = |item: &Item| item.repo_tags.clone().unwrap_or_default();
    let there = || {
        let all: Vec<_> = items.iter().map(|item| names(item).join(" or ")).collect();
        all.join(", ")
    };
    let item = match &choice.name {
        Some(name) => items
            .iter()
            .find(|item| names(item).contains(name))
            .or_else(|| items.iter().find(|item| names(item).iter().any(|known| is_meant(known, name))))
            .ok_or_else(|| Wrong::NoSuch { wanted: name.clone(), there: there() })?,
        None => match items.as_slice() {
            [one] => one,
            [] => return Err(Wrong::NoImage),
            _ => return Err(Wrong::Several { there: there() }),
        },
    };
    let layers = item.layers.iter().flatten();
    Ok(Found {
        config: item.config.clone(),
        // It is named after its digest, in one of two ways.
        config_digest: digest_in(&item.config),
        layers: layers.map(|name| LayerBlob { name: name.clone(), digest: digest_of_blob(name) }).collect(),
        manifests: Vec::new(),
    })
}

/// `a` means `a:latest`, and `docker.io/library/a:latest` as well.
pub(super) fn is_meant(known: &str, wanted: &str) -> bool {
    let tagged = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        if last.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
    };
    let (known, wanted) = (tagged(known), tagged(wanted));
    known == wanted || known.strip_suffix(&wanted).is_some_and(|rest| rest.ends_with('/'))
}

fn digest_in(name: &str) -> Option<crate::Digest> {
    let hex = name.strip_suffix(".json").or_else(|| name.strip_prefix("blobs/sha256/"))?;
    format!("sha256:{hex}").parse().ok()
}

fn digest_of_blob(name: &str) -> Option<crate::Digest> {
    format!("sha256:{}", name.strip_prefix("blobs/sha256/")?).parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("clarateach-workspace:latest", "clarateach-workspace", true)]
    #[case("docker.io/library/busybox:latest", "busybox", true)]
    #[case("registry:5000/a/b:1", "a/b:1", true)]
    #[case("a:1", "a", false)]
    #[case("ab:latest", "b", false)]
    fn names_may_be_short(#[case] known: &str, #[case] wanted: &str, #[case] meant: bool) {
        assert_eq!(is_meant(known, wanted), meant);
    }
}
