//! Why a registry's image cannot be had. No secret, and no address with a query, is in any of it.

use std::error::Error as _;

use super::CredentialsError;
use crate::Digest;
use crate::source::{SpoolError, Wrong};

/// Why a registry's image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A text that names no image.
    #[error("{reference:?} names no image: {why}")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Docker's configuration is there, and of no use.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A secret that no request can carry.
    #[error(
        "the password or token for the registry has characters that HTTP cannot carry; `docker login` again"
    )]
    BadSecret,
    /// There can be no TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The registry does not give it.
    #[error("{registry} does not give {repository} (status {status}){}", if *.known { ": these credentials are not enough" } else { "; there are no credentials for it: `docker login` first" })]
    Denied {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// Its status code.
        status: u16,
        /// Whether there were credentials.
        known: bool,
    },
    /// What it wants as a proof cannot be had.
    #[error("{registry} asks for a token in a way that is not understood: {why}")]
    Challenge {
        /// The registry.
        registry: String,
        /// Why.
        why: &'static str,
    },
    /// The registry does not have it.
    #[error("the registry has no {0}")]
    NoSuch(String),
    /// It has another status than it should, also after a while.
    #[error("{registry} answers with status {status}{}", if *.status == 429 { ": it was asked too often; try again later" } else { "; try again later" })]
    Status {
        /// The registry.
        registry: String,
        /// Its status code.
        status: u16,
    },
    /// No answer, also after a while.
    #[error("{registry} cannot be reached: {why}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        why: String,
    },
    /// A blob ended early, each time.
    #[error("{registry} broke off after {bytes} of the {expected} bytes of {digest}, each time")]
    BrokeOff {
        /// The registry.
        registry: String,
        /// The blob.
        digest: Digest,
        /// Bytes that had come.
        bytes: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A blob is longer than its manifest says.
    #[error("{digest} is longer than the {expected} bytes that it should have")]
    Longer {
        /// The blob.
        digest: Digest,
        /// Bytes that it should have.
        expected: u64,
    },
    /// What came has another digest.
    #[error("the registry was asked for {expected} and sent {found}")]
    Damaged {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A document that is far too long.
    #[error("{name} has more than {most} bytes")]
    Large {
        /// Which.
        name: String,
        /// The limit, in bytes.
        most: u64,
    },
    /// The image has too much.
    #[error("the image has more than {most} {what}, which is the limit")]
    TooMuch {
        /// The limit.
        most: u64,
        /// Of what.
        what: &'static str,
    },
    /// A document that is none.
    #[error("{name} is no document of an image: {why}")]
    Malformed {
        /// Which.
        name: String,
        /// Why.
        #[source]
        why: serde_json::Error,
    },
    /// A kind of document that is not known.
    #[error("{name} is of the kind {kind:?}, which is no image")]
    Kind {
        /// Which.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// It is for another processor.
    #[error("the image is for {found}, not for {wanted}, and there is no other")]
    Architecture {
        /// What was asked for, in Go's words.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// It has no image that fits, or contradicts itself.
    #[error("the registry's image: {0}")]
    Image(#[source] Wrong),
    /// It cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl RegistryError {
    /// The chain of reasons without the address: that may have a signature in it.
    pub(super) fn unreachable(registry: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            why = format!("{why}: {error}");
            source = error.source();
        }
        Self::Unreachable { registry: registry.to_owned(), why }
    }
}
