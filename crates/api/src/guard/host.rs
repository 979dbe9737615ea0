//! Loopback host names, and nothing else.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{StatusCode, Uri};

use crate::problem::Problem;

/// # Errors
/// 403 when the request names another host than this machine, or comes from a page of another origin.
pub(super) fn admit(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter().peekable();
    let named = hosts.peek().is_some() || request.uri().authority().is_some();
    let host_is_local = hosts.all(|value| value.to_str().is_ok_and(is_loopback_authority));
    // A request target in absolute form (RFC 9112, 3.2.2) names the host once more.
    let target_is_local = request.uri().authority().is_none_or(|authority| is_loopback(authority.host()));
    if !(named && host_is_local && target_is_local) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "without a token this service answers requests to localhost only",
        )
        .remedy("ask for http://127.0.0.1, or configure a token"));
    }
    let foreign = |value: &http::HeaderValue| !value.to_str().is_ok_and(is_loopback_origin);
    if request.headers().get_all(ORIGIN).iter().any(foreign) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "without a token this service answers no web page of another host",
        )
        .remedy("call the service from a server, or configure a token"));
    }
    Ok(())
}

fn is_loopback_authority(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|authority| {
        // User information does not belong into `Host`, and would move what looks like the host.
        !text.contains('@') && is_loopback(authority.host())
    })
}

fn is_loopback_origin(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme().is_some() && uri.authority().is_some_and(|a| is_loopback_authority(a.as_str()))
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use rstest::rstest;

    use super::*;

    fn code(target: &str, host: Option<&str>, origin: Option<&str>) -> Option<&'static str> {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        admit(&request.body(Body::empty()).unwrap()).err().map(|problem| problem.code())
    }

    #[rstest]
    #[case("localhost")]
    #[case("LOCALHOST:8080")]
    #[case("127.0.0.1:8080")]
    #[case("127.3.2.1")]
    #[case("[::1]:8080")]
    fn local(#[case] host: &str) {
        assert_eq!(code("/", Some(host), None), None);
    }

    #[rstest]
    #[case("example.com")]
    #[case("localhost.example.com")]
    #[case("127.0.0.1.example.com")]
    #[case("10.0.0.1:8080")]
    #[case("0.0.0.0:8080")]
    #[case("[::]:8080")]
    #[case("[::2]")]
    #[case("user@localhost")]
    #[case("localhost@example.com")]
    #[case("2130706433")]
    #[case("")]
    fn elsewhere(#[case] host: &str) {
        assert_eq!(code("/", Some(host), None), Some("host_not_allowed"));
    }

    #[test]
    fn a_host_must_be_named_and_every_name_counts() {
        assert_eq!(code("/", None, None), Some("host_not_allowed"));
        assert_eq!(code("http://evil.example/", Some("localhost"), None), Some("host_not_allowed"));
        assert_eq!(code("http://localhost/", Some("localhost"), None), None);
    }

    #[rstest]
    #[case("http://localhost:5173", true)]
    #[case("http://127.0.0.1", true)]
    #[case("https://evil.example", false)]
    #[case("null", false)]
    #[case("localhost", false)]
    fn origins(#[case] origin: &str, #[case] good: bool) {
        let expected = if good { None } else { Some("origin_not_allowed") };
        assert_eq!(code("/", Some("localhost"), Some(origin)), expected);
    }
}
