//! What can go wrong in a provider, sorted by who can do something about it.

use std::error::Error;
use std::fmt;

use crate::{ImageRef, ProviderKind, SeatRef, Stage, WorkshopId};

/// A failed provider operation. Each variant is a different thing to do for whoever sees it; [`ProviderError::code`]
/// names it for programs, `Display` says what failed, and [`ProviderError::remedy`] what to do. No variant holds
/// a secret: environment values and keys never get here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The seat is there with another spec. The caller destroys it first, or asks for what is there.
    #[error("seat {seat} is there with another {}", SpecDifference::join(.differences))]
    Conflict {
        /// Which seat.
        seat: SeatRef,
        /// In what the specs differ; at least one.
        differences: Vec<SpecDifference>,
    },
    /// The name that the seat needs is taken by something that is not ours; it is left alone.
    #[error("the {kind} name {name:?} is taken by one without this service's labels ({for_whom})")]
    Foreign {
        /// What kind of object.
        kind: ObjectKind,
        /// The name taken.
        name: String,
        /// For which seat or workshop it was wanted.
        for_whom: String,
    },
    /// An object of the seat is in use by something that is not ours; it is left alone.
    #[error("the {kind} {name:?} ({for_whom}) is in use: {detail}")]
    InUse {
        /// What kind of object.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// Whose it is.
        for_whom: String,
        /// By whom it is used, as far as that is known.
        detail: String,
    },
    /// The configuration does not allow this seat on this host now.
    #[error("{for_whom} is refused: {detail}")]
    Refused {
        /// For which seat or workshop.
        for_whom: String,
        /// Which setting refuses it and why.
        detail: String,
    },
    /// The seat was removed while the operation ran.
    #[error("seat {seat} was removed meanwhile")]
    Gone {
        /// Which seat.
        seat: SeatRef,
    },
    /// The image is not on the host and cannot be had.
    #[error("image {image} is not on this host and cannot be pulled: {detail}")]
    ImageUnavailable {
        /// Which image.
        image: ImageRef,
        /// What the engine or the registry said.
        detail: String,
    },
    /// The image is on the host, and no container of it can start: its program or its user is not there, or it is made
    /// for other machines. Another try ends the same way.
    #[error("image {image} cannot be started: {detail}")]
    ImageUnusable {
        /// Which image.
        image: ImageRef,
        /// What the engine said.
        detail: String,
    },
    /// No address range is left for another workshop, or no address for another seat.
    #[error("no address is left for workshop {workshop}: {detail}")]
    AddressesExhausted {
        /// Which workshop.
        workshop: WorkshopId,
        /// Which pool, and how much of it is in use.
        detail: String,
    },
    /// The host has no room (disk, memory, processes).
    #[error("the host has no room for {for_whom}: {detail}")]
    HostFull {
        /// For which seat or workshop.
        for_whom: String,
        /// What the engine said.
        detail: String,
    },
    /// The infrastructure does not answer. Nothing was changed that this provider knows of, and it tries again
    /// on the next request.
    #[error("the {provider} engine does not answer: {detail}")]
    Unavailable {
        /// Which provider.
        provider: ProviderKind,
        /// What was tried and what happened.
        detail: String,
    },
    /// Anything else that the infrastructure refused.
    #[error("{for_whom}: {stage} failed: {detail}")]
    Failed {
        /// For which seat or workshop.
        for_whom: String,
        /// In which stage.
        stage: Stage,
        /// What the engine said.
        detail: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl ProviderError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "seat_conflict",
            Self::Foreign { .. } => "name_taken",
            Self::InUse { .. } => "object_in_use",
            Self::Refused { .. } => "refused",
            Self::Gone { .. } => "seat_gone",
            Self::ImageUnavailable { .. } => "image_unavailable",
            Self::ImageUnusable { .. } => "image_unusable",
            Self::AddressesExhausted { .. } => "addresses_exhausted",
            Self::HostFull { .. } => "host_full",
            Self::Unavailable { .. } => "engine_unavailable",
            Self::Failed { .. } => "provider_failed",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "destroy the seat first, or ask for what is there",
            Self::Foreign { .. } => "rename or remove that object, or choose another workshop or seat",
            Self::InUse { .. } => "stop or detach what uses it, then try again",
            Self::Refused { .. } => "change that setting, or what is on the host, then try again",
            Self::Gone { .. } => "create the seat again if it is still wanted",
            Self::ImageUnavailable { .. } => "load or build the image on this host, or correct the name",
            Self::ImageUnusable { .. } => {
                "correct the image (its entrypoint, user and platform), or name another"
            }
            Self::AddressesExhausted { .. } => "destroy a workshop, or configure a larger pool",
            Self::HostFull { .. } => "free disk space or memory on the host, then try again",
            Self::Unavailable { .. } => {
                "start the engine or correct its address, or mend what microVMs miss, then try again"
            }
            Self::Failed { .. } => "see the service's log for this request; trying again is safe",
        }
    }
}

/// In what two specs of one seat differ. The values stay out: one of them may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecDifference {
    /// The image.
    Image,
    /// An environment variable.
    Env,
    /// A limit.
    Limits,
    /// The api key.
    ApiKey,
}

impl SpecDifference {
    /// The field of the request that differs.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Env => "env",
            Self::Limits => "limits",
            Self::ApiKey => "api_key",
        }
    }

    fn join(differences: &[Self]) -> String {
        differences.iter().map(|difference| difference.field()).collect::<Vec<_>>().join(", ")
    }
}

/// The kinds of object that a provider makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A container or microVM.
    Instance,
    /// A workshop's network.
    Network,
    /// A seat's data.
    Volume,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "container",
            Self::Network => "network",
            Self::Volume => "volume",
        })
    }
}
