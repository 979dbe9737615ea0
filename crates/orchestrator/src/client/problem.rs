//! A refusal of the service as a failure of the command.

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::exit::{Exit, Failure};

/// What is read of problem details (RFC 9457). Everything is optional: something before the service may answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    remedy: Option<String>,
    request_id: Option<String>,
    errors: Vec<FieldError>,
    /// `/readyz` answers with these instead of a problem.
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    ok: bool,
    detail: String,
    remedy: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FieldError {
    field: String,
    message: String,
}

/// Reads the refusal. `what` says what was wanted.
pub(super) async fn read(response: Response, what: &str) -> Failure {
    let status = response.status();
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = response.json().await.unwrap_or_default();
    let problem = Problem::deserialize(super::types::plain(&answer)).unwrap_or_default();
    failure(status, retry_after.as_deref(), problem, what)
}

fn failure(status: StatusCode, retry_after: Option<&str>, problem: Problem, what: &str) -> Failure {
    let fallback = || format!("the service answered {status}");
    let (missing, cure) = problem
        .checks
        .into_iter()
        .find(|check| !check.ok)
        .map_or((None, None), |check| (Some(check.detail), check.remedy));
    let detail = problem.detail.or(problem.title).or(missing).unwrap_or_else(fallback);
    let mut message = if detail.starts_with(what) { detail } else { format!("{what}: {detail}") };
    // The id finds the request in the service's log, which is where the remedy of a 5xx sends people.
    if let (true, Some(id)) = (status.is_server_error(), problem.request_id) {
        message += &format!(" (request {id})");
    }
    let remedy = match (status, problem.remedy.or(cure)) {
        (StatusCode::UNAUTHORIZED, _) => Some(
            "give the service's token with --token-file, ORCHESTRATOR_TOKEN_FILE or ORCHESTRATOR_TOKEN"
                .into(),
        ),
        (_, Some(remedy)) => Some(match retry_after {
            Some(seconds) => format!("{remedy} (not before {seconds} s)"),
            None => remedy,
        }),
        (_, None) => None,
    };
    // A single field error is the detail already.
    let errors = if problem.errors.len() > 1 { problem.errors } else { Vec::new() };
    let details = errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    Failure { exit: exit(status, problem.code.as_deref()), message, details, remedy }
}

fn exit(status: StatusCode, code: Option<&str>) -> Exit {
    match status.as_u16() {
        400 | 413 | 415 => Exit::Usage,
        404 => Exit::NotFound,
        409 => Exit::Conflict,
        // 502 is something that the engine refused: trying again will not help by itself.
        429 | 503 | 504 => Exit::Unavailable,
        _ if code == Some("engine_unavailable") => Exit::Unavailable,
        _ => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(400, Exit::Usage)]
    #[case(401, Exit::Failure)]
    #[case(404, Exit::NotFound)]
    #[case(409, Exit::Conflict)]
    #[case(422, Exit::Failure)]
    #[case(429, Exit::Unavailable)]
    #[case(500, Exit::Failure)]
    #[case(503, Exit::Unavailable)]
    fn statuses_have_exit_codes(#[case] status: u16, #[case] exit: Exit) {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = failure(status, None, Problem::default(), "seat abc/1");
        assert_eq!(failure.exit, exit);
        assert_eq!(failure.message, format!("seat abc/1: the service answered {status}"));
    }

    #[test]
    fn says_everything_that_the_service_said() {
        let problem = serde_json::from_str(
            r#"{"detail": "2 fields", "remedy": "correct them", "extra": 1,
                "errors": [{"field": "seat", "message": "no"}, {"field": "image", "message": "neither"}]}"#,
        );
        let failure = failure(StatusCode::BAD_REQUEST, Some("3"), problem.unwrap(), "seat abc/1");
        assert_eq!(failure.message, "seat abc/1: 2 fields");
        assert_eq!(failure.details, ["seat: no", "image: neither"]);
        assert_eq!(failure.remedy.as_deref(), Some("correct them (not before 3 s)"));
    }

    #[test]
    fn a_service_that_is_not_ready_says_why() {
        let unready = serde_json::from_str(
            r#"{"status": "unready", "checks": [{"name": "a", "ok": true, "detail": "fine", "remedy": null},
                {"name": "docker", "ok": false, "detail": "no engine", "remedy": "start it"}]}"#,
        );
        let failure = failure(StatusCode::SERVICE_UNAVAILABLE, None, unready.unwrap(), "not ready");
        assert_eq!(failure.message, "not ready: no engine");
        assert_eq!((failure.remedy.as_deref(), failure.exit), (Some("start it"), Exit::Unavailable));
    }
}
