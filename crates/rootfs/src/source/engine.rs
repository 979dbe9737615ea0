//! An image straight from a Docker engine.
//!
//! ```text
//!   reference ──► inspect: digest, architecture ──► GET /images/{digest}/get ──► spool ──► the archive it is
//! ```
//!
//! The engine is asked for the digest and not for the name again, so a tag that moves in between does no harm.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use futures_util::StreamExt as _;

use super::blobs::Blobs;
use super::spool::{self, Spool, SpoolError};
use super::{BlobError, Choice, Image, Wrong};
use crate::{BadDigest, Digest, Limits, Progress, Stage};

/// How long the engine may be silent. It writes all layers to a folder of its own before the first byte.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// The longest reference: the distribution specification allows names of 255 bytes and tags of 128, beside a digest.
const MOST_REFERENCE: usize = 512;

/// Storage drivers of the classic store, which sends layers unpacked, so that they come as long as it says or a little longer.
/// The containerd store sends them as they were pushed and counts both, so how much comes is not known before.
const SAVES_UNPACKED: [&str; 5] = ["overlay2", "overlay", "aufs", "devicemapper", "vfs"];

/// Why an engine's image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A text that names no image.
    #[error("{0:?} is no name, tag, digest or id of an image")]
    Reference(String),
    /// The engine does not have it.
    #[error(
        "the engine has no image {0}: `docker pull` or `docker build` it first; `docker images` lists what there is"
    )]
    NoSuch(String),
    /// The engine does not answer.
    #[error(
        "the Docker engine cannot be reached: {0}; see that it runs, and that this user may use its socket"
    )]
    Unreachable(#[source] Box<Error>),
    /// The engine answers with an error.
    #[error("the engine refuses: {message} (status {status})")]
    Refused {
        /// Its status code.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The stream ended early.
    #[error("the engine broke off after {bytes} bytes of the image: {why}; try again")]
    BrokeOff {
        /// Bytes that had come.
        bytes: u64,
        /// Why.
        #[source]
        why: Box<Error>,
    },
    /// The engine hangs.
    #[error("the engine sent nothing for {} minutes, after {bytes} bytes of the image", SILENCE.as_secs() / 60)]
    Silent {
        /// Bytes that had come.
        bytes: u64,
    },
    /// The engine's digest is none.
    #[error("the engine names the image {name:?}: {why}")]
    Digest {
        /// What it says.
        name: String,
        /// Why not.
        #[source]
        why: BadDigest,
    },
    /// It is for another processor.
    #[error(
        "the engine's image is for {found}, not for {wanted}: `docker pull --platform linux/{wanted}` it"
    )]
    Architecture {
        /// What was asked for, in Go's words.
        wanted: String,
        /// What the engine has.
        found: String,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// What came is no archive.
    #[error("what the engine sent is damaged: {0}")]
    Archive(#[source] BlobError),
    /// What came is no image.
    #[error("what the engine sent is no image: {0}")]
    Image(#[source] Wrong),
    /// What came is another image.
    #[error("the engine was asked for {expected} and sent {found}")]
    Other {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
}

/// Brings an image of the engine into a file without a name in the folder `spool`, which needs room for all of it.
///
/// `reference` is a name with or without a tag, a digest, an id or the beginning of one; `architecture`, in Go's words,
/// is what the image must be for, where that matters. Nothing is left when the future is dropped.
///
/// # Errors
/// When the engine does not have the image or cannot send it, or there is no room for it.
pub async fn fetch(
    docker: &Docker,
    reference: &str,
    spool: &Path,
    architecture: Option<&str>,
    progress: &dyn Progress,
) -> Result<Image, EngineError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let is_name = reference.len() <= MOST_REFERENCE && reference.bytes().all(allowed);
    if reference.is_empty() || !is_name || reference.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(EngineError::Reference(reference.to_owned()));
    }
    let docker = docker.clone().with_timeout(SILENCE);
    let inspected = docker.inspect_image(reference).await.map_err(|error| told(error, reference))?;
    let name = inspected.id.unwrap_or_default();
    let digest: Digest = name.parse().map_err(|why| EngineError::Digest { name, why })?;
    let found = inspected.architecture.unwrap_or_default();
    if let Some(wanted) = architecture.filter(|wanted| *wanted != found && !found.is_empty()) {
        return Err(EngineError::Architecture { wanted: wanted.to_owned(), found });
    }
    // What the layers unpacked have, and the archive has little beside them.
    let size = inspected.size.and_then(|size| u64::try_from(size).ok()).filter(|&size| size > 0);
    let driver = inspected.graph_driver.map(|driver| driver.name).unwrap_or_default();
    if let Some(size) = size.filter(|_| SAVES_UNPACKED.contains(&&*driver)) {
        spool::room(spool, size).await?;
    }
    progress.begin(Stage::Fetch, size);
    let kept = Spool::begin(spool, Limits::default().bytes);
    let streamed = stream(&docker, &digest, &kept, progress).await;
    let file = match streamed {
        Ok(()) | Err(EngineError::Spool(SpoolError::Ended)) => kept.finish().await?,
        Err(error) => return Err(error),
    };
    let choice = Choice { name: None, architecture: Some(found).filter(|found| !found.is_empty()) };
    // An archive of many layers is many seeks: not on a thread that others wait for.
    let opened = tokio::task::spawn_blocking(move || {
        let blobs = Blobs::archive(file).map_err(EngineError::Archive)?;
        Image::among(blobs, &choice).map_err(EngineError::Image)
    });
    let image = opened.await.map_err(|_| SpoolError::Ended)??;
    // The classic store names an image by its configuration, containerd's by its manifest or index.
    if !image.is(&digest) {
        return Err(EngineError::Other { expected: digest, found: image.id });
    }
    Ok(image)
}

async fn stream(
    docker: &Docker,
    digest: &Digest,
    spool: &Spool,
    progress: &dyn Progress,
) -> Result<(), EngineError> {
    let name = digest.to_string();
    let sender = spool.sender();
    let mut stream = std::pin::pin!(docker.export_image(&name));
    let mut bytes = 0;
    loop {
        let next = tokio::time::timeout(SILENCE, stream.next()).await;
        let chunk = match next.map_err(|_| EngineError::Silent { bytes })? {
            None => return Ok(()),
            Some(Ok(chunk)) => chunk,
            Some(Err(error @ Error::DockerResponseServerError { .. })) => return Err(told(error, &name)),
            Some(Err(error)) => return Err(EngineError::BrokeOff { bytes, why: Box::new(error) }),
        };
        let len = chunk.len() as u64;
        sender.write(bytes, chunk).await?;
        bytes += len;
        progress.advance(len);
    }
}

fn told(error: Error, reference: &str) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => {
            EngineError::NoSuch(reference.to_owned())
        }
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { status: status_code, message }
        }
        error => EngineError::Unreachable(Box::new(error)),
    }
}
