//! What errors of the parts mean for whoever asked.

use std::error::Error;
use std::fmt::Display;
use std::io;

use seats::{ObjectKind, ProviderError, ProviderKind, SeatRef, Stage, WorkshopId};

use crate::edges::NetError;
use crate::records::Unreadable;
use crate::vmm::VmmError;

/// For whom something is done, as errors name it.
pub(crate) fn seat(seat: &SeatRef) -> String {
    format!("seat {seat}")
}

/// The same of a workshop.
pub(crate) fn workshop(workshop: &WorkshopId) -> String {
    format!("workshop {workshop}")
}

/// Something that has no better name.
pub(crate) fn failed(
    for_whom: impl Into<String>,
    stage: Stage,
    detail: impl Display,
    source: Option<Box<dyn Error + Send + Sync>>,
) -> ProviderError {
    ProviderError::Failed { for_whom: for_whom.into(), stage, detail: detail.to_string(), source }
}

/// A file or folder.
pub(crate) fn io(
    for_whom: impl Into<String>,
    stage: Stage,
    doing: impl Display,
) -> impl FnOnce(io::Error) -> ProviderError {
    let for_whom = for_whom.into();
    let detail = doing.to_string();
    move |why| match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ProviderError::HostFull { for_whom, detail: format!("{detail}: {why}") }
        }
        _ => failed(for_whom, stage, format!("{detail}: {why}"), Some(Box::new(why))),
    }
}

/// The network.
pub(crate) fn net(for_whom: impl Into<String>, stage: Stage) -> impl FnOnce(NetError) -> ProviderError {
    let for_whom = for_whom.into();
    move |why| match why {
        NetError::Foreign { kind, name } => ProviderError::Foreign { kind, name, for_whom },
        NetError::Refused(detail) => ProviderError::Refused { for_whom, detail },
        NetError::Exhausted(detail) | NetError::Failed(detail) => failed(for_whom, stage, detail, None),
    }
}

/// Whether a VM was not made because somebody else had a process of its user by then: another user does.
pub(crate) fn is_user_taken(error: &ProviderError) -> bool {
    let ProviderError::Failed { source: Some(source), .. } = error else { return false };
    matches!(source.downcast_ref(), Some(VmmError::UserTaken { .. }))
}

/// The VM. `stage` is where it was tried.
pub(crate) fn vmm(whom: &SeatRef, stage: Stage) -> impl FnOnce(VmmError) -> ProviderError {
    let whom = seat(whom);
    move |why| match &why {
        // Nothing of the seat's: no VM can be made on this host now.
        VmmError::Binary { .. } | VmmError::NoKvm(_) | VmmError::Unfit(_) => {
            ProviderError::Unavailable { provider: ProviderKind::Microvm, detail: why.to_string() }
        }
        VmmError::Spec { why: reason, .. } => {
            ProviderError::Refused { for_whom: whom, detail: reason.to_string() }
        }
        VmmError::Busy { .. } => ProviderError::InUse {
            kind: ObjectKind::Instance,
            name: whom.clone(),
            for_whom: whom,
            detail: why.to_string(),
        },
        _ => {
            // Its own text begins with the seat as well.
            let text = why.to_string();
            let detail = text.strip_prefix(&format!("{whom}: ")).unwrap_or(&text).to_owned();
            failed(whom, stage, detail, Some(Box::new(why)))
        }
    }
}

/// A record that says nothing to this version, when something is to be made over it.
pub(crate) fn unreadable(whom: &SeatRef, why: &Unreadable) -> ProviderError {
    let detail = match why {
        Unreadable::Newer { .. } => {
            format!("{why}; run that version, or destroy the seat and create it again")
        }
        Unreadable::Damaged(_) | Unreadable::Io(_) => format!("{why}; destroy the seat and create it again"),
    };
    ProviderError::Refused { for_whom: seat(whom), detail }
}
