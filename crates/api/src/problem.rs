//! Errors as problem details (RFC 9457).
//!
//! A handler returns a [`Problem`] without knowing the request that it answers. The response carries it as an
//! extension and has no body yet; the outermost layer, which knows the path and the request id, writes the body
//! ([`Problem::render`]). So every error of the service has one shape, whoever raised it.

mod body;
mod lifecycle;

use std::fmt::Display;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

pub(crate) use lifecycle::ENGINE_BACK;

pub(crate) use body::{FieldError, LegacyError, ProblemBody};

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed, in words for a program (`code`) and for a person (`detail`, `remedy`).
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    remedy: Option<&'static str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Display) -> Self {
        let detail = detail.to_string();
        Self(Box::new(Parts { status, code, detail, remedy: None, errors: Vec::new(), headers: Vec::new() }))
    }

    /// 400 with everything that is wrong with the request at once.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.message.starts_with(&only.field) => only.message.clone(),
            [only] => format!("{}: {}", only.field, only.message),
            all => format!("{} fields of the request are invalid", all.len()),
        };
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
            .remedy("correct the fields listed in 'errors'");
        problem.0.errors = errors;
        problem
    }

    /// 500 for what should not happen; the log has the details.
    pub(crate) fn internal(detail: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .remedy("see the service's log for this request id; trying again is safe")
    }

    pub(crate) fn remedy(mut self, remedy: &'static str) -> Self {
        self.0.remedy = Some(remedy);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds `Retry-After` in whole seconds, rounded up, at least one.
    pub(crate) fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_millis().div_ceil(1000).clamp(1, 3600);
        self.header(RETRY_AFTER, HeaderValue::from(u16::try_from(seconds).unwrap_or(3600)))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Writes the body into the response that carries this problem.
    pub(crate) fn render(self, response: Response, path: &str, request_id: &str) -> Response {
        let (mut parts, _) = response.into_parts();
        let body = ProblemBody::new(&self, path, request_id);
        // Only strings and numbers are in it: writing it cannot fail, and an empty body would still be honest.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        Response::from_parts(parts, Body::from(bytes))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        for (name, value) in &self.0.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_error_is_also_the_detail_and_several_are_counted() {
        let error = |field: &str| FieldError { field: field.into(), message: "is wrong".into() };
        assert_eq!(Problem::invalid(vec![error("a")]).detail(), "a: is wrong");
        assert_eq!(
            Problem::invalid(vec![error("a"), error("b")]).detail(),
            "2 fields of the request are invalid"
        );
    }

    #[test]
    fn retry_after_is_at_least_a_second_and_rounded_up() {
        for (millis, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000_000, "3600")] {
            let problem = Problem::internal("x").retry_after(Duration::from_millis(millis));
            assert_eq!(problem.into_response().headers()[RETRY_AFTER], header);
        }
    }
}
