//! An image straight from a registry (OCI distribution specification 1.1).
//!
//! ```text
//!   reference ──► manifest, through indexes ──► sizes: where each blob goes ──► blobs, some at a time ──► spool
//! ```
//!
//! The client is a thin one over `reqwest` and not `oci-client`: that reads manifests of any length into memory, and its
//! errors do not say how long a registry wants to be left alone.

mod challenge;
mod client;
mod credentials;
mod error;
mod fetch;
mod reference;

use std::path::{Path, PathBuf};

use self::client::{Client, bounded};
pub use self::credentials::CredentialsError;
pub use self::error::RegistryError;
use self::reference::Reference;
use super::oci::{self, Descriptor, Index, Manifest};
use super::{Image, MOST_DOCUMENT, host_architecture};
use crate::{Digest, Progress};

/// The documents that are understood.
const KINDS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Registries, as `host` or `host:port`, that are asked without TLS, as those of this machine always are.
    pub insecure: Vec<String>,
    /// The folder of Docker's configuration; unless said, that of `DOCKER_CONFIG`, or `.docker` in the home folder.
    pub docker_config: Option<PathBuf>,
}

/// Brings an image of a registry into a file without a name in the folder `spool`, which needs room for all of it, packed.
///
/// `reference` is as for `docker pull`; of an image for several processors the one for `architecture` is taken, in Go's
/// words, or the one for this host. Nothing is left when the future is dropped.
///
/// # Errors
/// When the registry does not have the image, does not give it, or gives another one; or there is no room for it.
pub async fn fetch(
    reference: &str,
    options: &Options,
    spool: &Path,
    architecture: Option<&str>,
    progress: &dyn Progress,
) -> Result<Image, RegistryError> {
    let parsed: Reference =
        reference.parse().map_err(|why| RegistryError::Reference { reference: reference.to_owned(), why })?;
    let folder = options.docker_config.clone().or_else(credentials::default_folder);
    let credentials = match folder {
        Some(folder) => credentials::find(&folder, parsed.credentials_key()).await?,
        None => None,
    };
    let client = Client::new(&parsed, options, credentials)?;
    let (manifest, way) = manifest(&client, &parsed, architecture.unwrap_or(host_architecture())).await?;
    let image = fetch::image(&client, &manifest, way, spool, progress).await?;
    match architecture {
        Some(wanted) if !image.config.architecture.is_empty() && image.config.architecture != wanted => {
            Err(RegistryError::Architecture { wanted: wanted.to_owned(), found: image.config.architecture })
        }
        _ => Ok(image),
    }
}

/// The manifest that is meant, and the digests of all documents on the way to it.
async fn manifest(
    client: &Client,
    reference: &Reference,
    architecture: &str,
) -> Result<(Manifest, Vec<Digest>), RegistryError> {
    let mut wanted = reference.wanted();
    let mut expected = reference.digest;
    let mut way = Vec::new();
    loop {
        let (kind, text) = document(client, &wanted).await?;
        let found = Digest::of(&text);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(RegistryError::Damaged { expected, found });
        }
        way.push(found);
        let malformed = |why| RegistryError::Malformed { name: wanted.clone(), why };
        if !oci::is_index(&kind) {
            if !kind.contains("manifest.v2") && !kind.contains("image.manifest.v1") {
                return Err(RegistryError::Kind { name: wanted, kind });
            }
            return Ok((serde_json::from_slice(&text).map_err(malformed)?, way));
        }
        if way.len() > oci::MOST_DEPTH {
            return Err(RegistryError::Image(super::Wrong::Nested));
        }
        let index: Index = serde_json::from_slice(&text).map_err(malformed)?;
        let one: &Descriptor = oci::fitting(&index.manifests, architecture).map_err(RegistryError::Image)?;
        let digest = oci::digest(one).map_err(RegistryError::Image)?;
        (wanted, expected) = (digest.to_string(), Some(digest));
    }
}

/// A manifest or index, with its kind.
async fn document(client: &Client, wanted: &str) -> Result<(String, Vec<u8>), RegistryError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
    }
    let mut response = client.get(&format!("manifests/{wanted}"), KINDS).await?;
    let header = response.headers().get(reqwest::header::CONTENT_TYPE);
    let header = header.and_then(|header| header.to_str().ok()).unwrap_or_default().to_owned();
    let most = usize::try_from(MOST_DOCUMENT).unwrap_or(usize::MAX);
    let text = bounded(&mut response, most).await;
    let text = text.map_err(|error| RegistryError::unreachable(client.registry(), error))?;
    let text = text.ok_or(RegistryError::Large { name: wanted.to_owned(), most: MOST_DOCUMENT })?;
    let malformed = |why| RegistryError::Malformed { name: wanted.to_owned(), why };
    let kind: Kind = serde_json::from_slice(&text).map_err(malformed)?;
    Ok((kind.media_type.unwrap_or(header), text))
}
