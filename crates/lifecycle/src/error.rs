//! What can go wrong around a provider.

use std::time::Duration;

use seats::{ImageRef, InvalidLimits, ProviderError, SeatRef};

/// A failed operation of [`crate::Lifecycle`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The line is full; nothing was done.
    #[error("the line of creates is full: {waiting} are waiting")]
    Busy {
        /// How many wait.
        waiting: usize,
        /// When a place will probably be free.
        retry_after: Duration,
    },
    /// The configured allow-list does not have the image; nothing was done.
    #[error("image {image} is not on this service's list of allowed images")]
    ImageNotAllowed {
        /// Which image.
        image: ImageRef,
    },
    /// A limit is out of bounds, or above the configured ceiling; nothing was done.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// A limit is above the configured ceiling; nothing was done.
    #[error("{field} is at most {ceiling} on this service")]
    AboveCeiling {
        /// The field of the request.
        field: &'static str,
        /// The most that is configured, in the field's unit.
        ceiling: String,
    },
    /// A destroy of the seat or its workshop came while the create was waiting its turn.
    #[error("seat {seat} was destroyed before it was made")]
    Superseded {
        /// Which seat.
        seat: SeatRef,
    },
    /// The service is shutting down; nothing was done.
    #[error("the service is shutting down")]
    Draining,
    /// The task that did the work ended without a result (it panicked; the log has the reason).
    #[error("the work on {what} ended unexpectedly")]
    Lost {
        /// What it worked on.
        what: String,
    },
}

impl LifecycleError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Provider(error) => error.code(),
            Self::Busy { .. } => "queue_full",
            Self::ImageNotAllowed { .. } => "image_not_allowed",
            Self::Limits(_) | Self::AboveCeiling { .. } => "invalid_limits",
            Self::Superseded { .. } => "seat_superseded",
            Self::Draining => "shutting_down",
            Self::Lost { .. } => "internal",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Provider(error) => error.remedy(),
            Self::Busy { .. } => "try again after the time given",
            Self::ImageNotAllowed { .. } => "choose an allowed image, or have it added to the list",
            Self::Limits(_) | Self::AboveCeiling { .. } => "ask for less",
            Self::Superseded { .. } => "create the seat again if it is still wanted",
            Self::Draining => "try again when the service is back",
            Self::Lost { .. } => "see the service's log for this request; trying again is safe",
        }
    }

    /// Whether a create that ended so left no seat although somebody still wants it: not when the seat is there
    /// (as another one), nor when it was destroyed on purpose.
    pub(crate) fn leaves_the_seat_missing(&self) -> bool {
        !matches!(
            self,
            Self::Provider(ProviderError::Conflict { .. } | ProviderError::Gone { .. })
                | Self::Superseded { .. }
                | Self::Draining
        )
    }

    /// The message and the remedy as one line: the `reason` of a seat that this error left behind.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{self}; {}", self.remedy())
    }
}
