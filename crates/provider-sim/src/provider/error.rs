//! What the simulated engine says, in the words of the contract.

use seats::{ImageRef, ProviderError, ProviderKind, WorkshopId};

use crate::Step;
use crate::world::EngineError;

/// The error of a step. `image` is given where the step needs one.
pub(super) fn explain(
    for_whom: &str,
    workshop: &WorkshopId,
    image: Option<&ImageRef>,
    step: Step,
    error: EngineError,
) -> ProviderError {
    let for_whom = for_whom.to_owned();
    let failed =
        |for_whom, detail| ProviderError::Failed { for_whom, stage: step.stage(), detail, source: None };
    match (error, image) {
        (EngineError::Down, _) => unavailable(),
        (EngineError::Full(detail), _) => ProviderError::HostFull { for_whom, detail },
        (EngineError::Foreign { kind, name }, _) => ProviderError::Foreign { kind, name, for_whom },
        (EngineError::NoAddress(detail), _) => {
            ProviderError::AddressesExhausted { workshop: workshop.clone(), detail }
        }
        (EngineError::NoImage(detail), Some(image)) => {
            ProviderError::ImageUnavailable { image: image.clone(), detail }
        }
        (EngineError::Refused(detail) | EngineError::InUse(detail) | EngineError::NoImage(detail), _) => {
            failed(for_whom, detail)
        }
        (EngineError::Raced | EngineError::Gone, _) => {
            failed(for_whom, "somebody else works on the same seat".into())
        }
    }
}

/// The error of a call that is for no seat in particular.
pub(super) fn listing(error: EngineError) -> ProviderError {
    match error {
        EngineError::Down => unavailable(),
        other => ProviderError::Failed {
            for_whom: "every seat".into(),
            stage: Step::List.stage(),
            detail: format!("{other:?}"),
            source: None,
        },
    }
}

fn unavailable() -> ProviderError {
    ProviderError::Unavailable {
        provider: ProviderKind::Sim,
        detail: "the simulated engine is switched off".into(),
    }
}
