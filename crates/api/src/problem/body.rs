//! The wire form of a problem.

use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where: a field of the body (`env.A`, `seats[3]`), a query parameter or a path parameter.
    #[schema(examples("limits.cpus"))]
    pub(crate) field: String,
    /// What is wrong with it. Never quotes a value that may be a secret.
    #[schema(examples("cpus is from 0.01 to 256"))]
    pub(crate) message: String,
}

/// The error member that the first portal reads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LegacyError {
    /// The same as the problem's `code`.
    code: String,
    /// The same as the problem's `detail`.
    message: String,
}

/// Problem details (RFC 9457) with the extensions of this service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: the `code` tells the kind.
    #[serde(rename = "type")]
    #[schema(examples("about:blank"))]
    kind: &'static str,
    /// The phrase of the status.
    #[schema(examples("Conflict"))]
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, examples(409))]
    status: u16,
    /// What went wrong, this time.
    #[schema(examples("seat rust-101/1 is there with another image"))]
    detail: String,
    /// The path of the request.
    #[schema(examples("/workshops/rust-101/seats"))]
    instance: String,
    /// What went wrong, as a stable word for programs.
    #[schema(examples("seat_conflict"))]
    code: String,
    /// The request's id, which is also in the service's log.
    request_id: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remedy: Option<&'static str>,
    /// Everything that is wrong with the request, when it is the request that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// `code` and `detail` once more, for callers that know only these.
    error: LegacyError,
}

impl ProblemBody {
    pub(super) fn new(problem: &Problem, path: &str, request_id: &str) -> Self {
        let parts = &problem.0;
        Self {
            kind: "about:blank",
            title: parts.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: parts.status.as_u16(),
            detail: parts.detail.clone(),
            instance: path.to_owned(),
            code: parts.code.to_owned(),
            request_id: request_id.to_owned(),
            remedy: parts.remedy,
            errors: parts.errors.clone(),
            error: LegacyError { code: parts.code.to_owned(), message: parts.detail.clone() },
        }
    }
}
