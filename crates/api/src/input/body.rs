//! The body of a request, as JSON.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::json;
use crate::app::App;
use crate::problem::Problem;

/// A body that is JSON, of the right type, not too large and not too slow.
pub(crate) struct JsonBody(pub(crate) Value);

impl FromRequest<App> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body of this request is application/json",
            )
            .remedy("send 'Content-Type: application/json' and JSON in UTF-8"));
        }
        let bytes = read(request, app.config.max_body, app.config.body_timeout).await?;
        json::parse(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                format_args!("the body is not JSON: {error}"),
            )
            .remedy("send one JSON object in UTF-8, with each key once")
        })
    }
}

async fn read(request: Request, most: usize, within: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {most} bytes, which is the most this service takes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).remedy("send a smaller body")
    };
    let body = request.into_body();
    // A declared length is refused before a byte of it is read.
    if axum::body::HttpBody::size_hint(&body).lower() > most as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(within, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "body_incomplete",
            "the body ended before it was complete",
        )
        .remedy("send the whole body")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} seconds", within.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail).remedy("send it faster"))
        }
    }
}

/// Whether the one `Content-Type` is `application/json`, with no parameter but `charset=utf-8`.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence
        && parts.filter(|parameter| !parameter.is_empty()).all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, charset)| {
                name.eq_ignore_ascii_case("charset")
                    && charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("application/json", true)]
    #[case("Application/JSON; charset=UTF-8", true)]
    #[case("application/json;charset=\"utf-8\";", true)]
    #[case("application/json; charset=latin1", false)]
    #[case("application/json; version=2", false)]
    #[case("text/json", false)]
    #[case("application/x-www-form-urlencoded", false)]
    #[case("", false)]
    fn content_types(#[case] value: &'static str, #[case] json: bool) {
        let mut headers = HeaderMap::new();
        assert!(!is_json(&headers));
        headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        assert_eq!(is_json(&headers), json);
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(!is_json(&headers), "two content types are none");
    }
}
