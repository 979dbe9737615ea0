//! Who may ask.

use api::ApiConfig;
use axum::body::Body;
use http::{Method, Request};
use rstest::rstest;

use crate::service::{Answer, Service, policy, request};

fn guarded() -> Service {
    Service::with(policy(), ApiConfig { token: Some("sk-canary-s3cret".into()), ..ApiConfig::default() })
}

async fn with(service: &Service, target: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::builder().uri(target).header("host", "orchestrator.internal:8080");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    service.send(request.body(Body::empty()).unwrap()).await
}

#[rstest]
#[case("/workshops")]
#[case("/workshops/abc")]
#[case("/workshops/abc/seats/1")]
#[case("/version")]
#[case("/metrics")]
#[case("/openapi.json")]
#[case("/nowhere")]
#[tokio::test]
async fn a_token_is_needed(#[case] target: &str) {
    let service = guarded();
    let missing = with(&service, target, None).await.is(401);
    assert_eq!(
        (missing.problem().as_str(), missing.header("www-authenticate")),
        ("unauthorized", Some("Bearer"))
    );
    for wrong in
        ["Bearer wrong", "Bearer sk-canary-s3cret2", "Bearer", "Basic sk-canary-s3cret", "sk-canary-s3cret"]
    {
        let answer = with(&service, target, Some(wrong)).await.is(401);
        assert!(!answer.text().contains("sk-canary"), "{}", answer.text());
    }
    let status = with(&service, target, Some("Bearer sk-canary-s3cret")).await.status.as_u16();
    assert!([200, 404].contains(&status), "{status}");
}

#[tokio::test]
async fn probes_need_none() {
    let service = guarded();
    for target in ["/health", "/livez", "/readyz"] {
        with(&service, target, None).await.is(200);
    }
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_served() {
    let service = Service::new();
    for target in ["/workshops", "/health"] {
        let answer = with(&service, target, None).await.is(403);
        assert_eq!(answer.problem(), "host_not_allowed");
    }
    let page =
        |origin: &str| request(Method::DELETE, "/workshops/abc").header("origin", origin).body(Body::empty());
    let answer = service.send(page("https://evil.example").unwrap()).await.is(403);
    assert_eq!(answer.problem(), "origin_not_allowed");
    service.send(page("http://localhost:5173").unwrap()).await.is(204);
}
