//! What each error of the lifecycle is over HTTP.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;
use lifecycle::LifecycleError;
use seats::{InvalidLimits, ProviderError};

use super::{FieldError, Problem};

/// When to come back after the engine did not answer.
pub(crate) const ENGINE_BACK: Duration = Duration::from_secs(5);
/// When to come back after the host had no room: somebody has to make some first.
const ROOM_AGAIN: Duration = Duration::from_secs(30);
/// When to come back after a shutdown.
const RESTARTED: Duration = Duration::from_secs(5);

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        if let Some(field) = field_of(&error) {
            return Self::invalid(vec![FieldError { field: field.to_owned(), message: error.to_string() }]);
        }
        let (status, retry_after) = status_of(&error);
        if status.is_server_error() {
            tracing::warn!(code = error.code(), error = chain(&error), "operation failed");
        }
        let problem = Self::new(status, error.code(), &error).remedy(error.remedy());
        match retry_after {
            Some(after) => problem.retry_after(after),
            None => problem,
        }
    }
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        LifecycleError::from(error).into()
    }
}

/// The field of the request at fault, for the errors that are the request's.
fn field_of(error: &LifecycleError) -> Option<&'static str> {
    match error {
        LifecycleError::ImageNotAllowed { .. } => Some("image"),
        LifecycleError::Limits(limits) => Some(match limits {
            InvalidLimits::Cpus => "limits.cpus",
            InvalidLimits::Memory => "limits.memory_mib",
            InvalidLimits::Pids => "limits.pids",
        }),
        LifecycleError::AboveCeiling { field, .. } => Some(field),
        _ => None,
    }
}

fn status_of(error: &LifecycleError) -> (StatusCode, Option<Duration>) {
    match error {
        LifecycleError::Provider(error) => status_of_provider(error),
        LifecycleError::Busy { retry_after, .. } => (StatusCode::TOO_MANY_REQUESTS, Some(*retry_after)),
        LifecycleError::Superseded { .. } => (StatusCode::CONFLICT, None),
        LifecycleError::Draining => (StatusCode::SERVICE_UNAVAILABLE, Some(RESTARTED)),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
    }
}

fn status_of_provider(error: &ProviderError) -> (StatusCode, Option<Duration>) {
    match error {
        ProviderError::Conflict { .. }
        | ProviderError::Foreign { .. }
        | ProviderError::InUse { .. }
        | ProviderError::Refused { .. }
        | ProviderError::Gone { .. } => (StatusCode::CONFLICT, None),
        ProviderError::ImageUnavailable { .. } | ProviderError::ImageUnusable { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, None)
        }
        ProviderError::AddressesExhausted { .. } | ProviderError::HostFull { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, Some(ROOM_AGAIN))
        }
        ProviderError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, Some(ENGINE_BACK)),
        // The infrastructure refused something that the request could not have known.
        _ => (StatusCode::BAD_GATEWAY, None),
    }
}

/// The error with its causes, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        // A transparent variant repeats its cause's words.
        let words = next.to_string();
        if !text.ends_with(&words) {
            let _ = write!(text, ": {words}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::header::RETRY_AFTER;
    use rstest::rstest;
    use seats::{ObjectKind, ProviderKind, SeatBound, SeatRef, SpecDifference, Stage};

    use super::*;

    fn seat() -> SeatRef {
        SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(1).unwrap())
    }

    fn failed() -> ProviderError {
        ProviderError::Failed {
            for_whom: "abc/1".into(),
            stage: Stage::Start,
            detail: "no".into(),
            source: Some("the cause".into()),
        }
    }

    #[rstest]
    #[case(ProviderError::Conflict { seat: seat(), differences: vec![SpecDifference::Image] }, 409, None)]
    #[case(ProviderError::Foreign { kind: ObjectKind::Network, name: "n".into(), for_whom: "abc".into() }, 409, None)]
    #[case(ProviderError::InUse { kind: ObjectKind::Volume, name: "v".into(), for_whom: "abc/1".into(), detail: "x".into() }, 409, None)]
    #[case(ProviderError::Refused { for_whom: "abc/1".into(), detail: "x".into() }, 409, None)]
    #[case(ProviderError::Gone { seat: seat() }, 409, None)]
    #[case(ProviderError::ImageUnavailable { image: "x".parse().unwrap(), detail: "no".into() }, 422, None)]
    #[case(ProviderError::AddressesExhausted { workshop: seat().workshop, detail: "full".into() }, 503, Some("30"))]
    #[case(ProviderError::HostFull { for_whom: "abc/1".into(), detail: "disk".into() }, 503, Some("30"))]
    #[case(ProviderError::Unavailable { provider: ProviderKind::Docker, detail: "down".into() }, 503, Some("5"))]
    #[case(failed(), 502, None)]
    fn provider_errors(#[case] error: ProviderError, #[case] status: u16, #[case] retry: Option<&str>) {
        let (code, remedy) = (error.code(), error.remedy());
        let problem = Problem::from(error);
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        assert_eq!(problem.0.remedy, Some(remedy));
        let response = problem.into_response();
        assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry);
    }

    #[rstest]
    #[case(LifecycleError::Busy { waiting: 9, retry_after: Duration::from_millis(2500) }, 429, Some("3"))]
    #[case(LifecycleError::Superseded { seat: seat() }, 409, None)]
    #[case(LifecycleError::Draining, 503, Some("5"))]
    #[case(LifecycleError::Lost { what: "abc/1".into() }, 500, None)]
    fn lifecycle_errors(#[case] error: LifecycleError, #[case] status: u16, #[case] retry: Option<&str>) {
        let code = error.code();
        let problem = Problem::from(error);
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        let response = problem.into_response();
        assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry);
    }

    #[rstest]
    #[case(LifecycleError::ImageNotAllowed { image: "x".parse().unwrap() }, "image")]
    #[case(LifecycleError::Limits(InvalidLimits::Cpus), "limits.cpus")]
    #[case(LifecycleError::Limits(InvalidLimits::Memory), "limits.memory_mib")]
    #[case(LifecycleError::Limits(InvalidLimits::Pids), "limits.pids")]
    #[case(LifecycleError::AboveCeiling { field: "limits.pids", ceiling: "9".into() }, "limits.pids")]
    fn what_the_policy_refuses_is_a_field_error(#[case] error: LifecycleError, #[case] field: &str) {
        let problem = Problem::from(error);
        assert_eq!((problem.status().as_u16(), problem.code()), (400, "invalid_request"));
        assert_eq!(problem.0.errors[0].field, field);
    }

    #[test]
    fn the_log_gets_every_cause_once() {
        assert_eq!(chain(&LifecycleError::from(failed())), "abc/1: start failed: no: the cause");
    }
}
