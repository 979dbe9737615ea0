//! Requests that are wrong, each answered with what is wrong and nothing done.

use api::ApiConfig;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use lifecycle::Policy;
use rstest::rstest;
use seats::SeatBound;
use serde_json::{Value, json};

use crate::service::{Service, json as json_request, policy, request};

#[rstest]
#[case("ab")]
#[case("a23456789012345678901")]
#[case("Rust")]
#[case("a_b")]
#[case("abc%00")]
#[case("abc%0A")]
#[case("%D9%A3abc")]
#[case("..%2F..%2Fetc")]
#[case("abc%20")]
#[tokio::test]
async fn a_workshop_that_is_none(#[case] id: &str) {
    let service = Service::new();
    for target in
        [format!("/workshops/{id}"), format!("/workshops/{id}/seats"), format!("/workshops/{id}/seats/1")]
    {
        assert_eq!(service.get(&target).await.wrong_fields(), ["id"], "{target}");
    }
    assert_eq!(service.delete(&format!("/workshops/{id}")).await.wrong_fields(), ["id"]);
    assert_eq!(
        service.post(&format!("/workshops/{id}/seats"), json!({"seat": 1})).await.wrong_fields(),
        ["id"]
    );
    assert_eq!(service.put(&format!("/workshops/{id}"), json!({"seats": 1})).await.wrong_fields(), ["id"]);
}

#[rstest]
#[case("0")]
#[case("01")]
#[case("007")]
#[case("-1")]
#[case("+1")]
#[case("%201")]
#[case("101")]
#[case("18446744073709551617")]
#[case("1%00")]
#[case("1%0A")]
#[case("%D9%A1")]
#[case("1.0")]
#[case("one")]
#[tokio::test]
async fn a_seat_that_is_none(#[case] number: &str) {
    let service = Service::new();
    let target = format!("/workshops/abc/seats/{number}");
    assert_eq!(service.get(&target).await.wrong_fields(), ["seat"]);
    assert_eq!(service.delete(&target).await.wrong_fields(), ["seat"]);
}

#[tokio::test]
async fn a_path_or_query_that_is_not_utf8() {
    let service = Service::new();
    assert_eq!(service.get("/workshops/%ff%fe%fd/seats").await.wrong_fields(), ["path"]);
    assert_eq!(service.get("/workshops/abc/seats?%ff=1").await.wrong_fields(), ["query"]);
}

#[rstest]
#[case(json!({}), &["seat"])]
#[case(json!({"seat": 0}), &["seat"])]
#[case(json!({"seat": 101}), &["seat"])]
#[case(json!({"seat": "1"}), &["seat"])]
#[case(json!({"seat": 1.0}), &["seat"])]
#[case(json!({"seat": 1, "api_key": 5}), &["api_key"])]
#[case(json!({"seat": 1, "api_key": ""}), &["api_key"])]
#[case(json!({"seat": 1, "image": "UPPER case"}), &["image"])]
#[case(json!({"seat": 1, "env": ["A=B"]}), &["env"])]
#[case(json!({"seat": 1, "env": {"A B": "x"}}), &["env"])]
#[case(json!({"seat": 1, "env": {"ANTHROPIC_API_KEY": "x"}}), &["env.ANTHROPIC_API_KEY"])]
#[case(json!({"seat": 1, "limits": {"cpus": 0}}), &["limits.cpus"])]
#[case(json!({"seat": 1, "limits": {"cpus": 100}}), &["limits.cpus"])]
#[case(json!({"seat": 1, "limits": {"memory_mib": 4097}}), &["limits.memory_mib"])]
#[case(json!({"seat": 1, "limits": {"memory": 1}}), &["limits.memory"])]
#[case(json!({"seat": 1, "expires_in": "2h"}), &["expires_in"])]
#[case(json!([1]), &["body"])]
#[case(json!(null), &["body"])]
#[tokio::test]
async fn a_body_that_is_wrong(#[case] body: Value, #[case] fields: &[&str]) {
    let service = Service::new();
    assert_eq!(service.post("/workshops/abc/seats", body).await.wrong_fields(), fields);
    assert!(service.world.is_empty());
}

#[tokio::test]
async fn everything_wrong_is_told_at_once_and_nothing_secret() {
    let service = Service::new();
    let body = json!({
        "seat": 0, "api_key": "sk-canary-secret\0", "env": {"sk-canary-swapped": "A", "B": 1}, "limits": {"pids": 1}, "imgae": "x"
    });
    let answer = service.post("/workshops/Ab/seats?wait=1h&wiat=3", body).await;
    assert_eq!(
        answer.wrong_fields(),
        ["id", "wait", "wiat", "seat", "api_key", "env.B", "env", "limits.pids", "imgae"]
    );
    assert!(!answer.text().contains("sk-canary"));
    let messages = answer.json()["errors"].to_string();
    assert!(
        messages.contains("did you mean 'wait'") && messages.contains("did you mean 'image'"),
        "{messages}"
    );
}

#[rstest]
#[case("/workshops/abc/seats?wait=", "wait")]
#[case("/workshops/abc/seats?wait=-1s", "wait")]
#[case("/workshops/abc/seats?wait=1d", "wait")]
#[case("/workshops/abc/seats?wait=601s", "wait")]
#[case("/workshops/abc/seats?wait=1s&wait=1s", "wait")]
#[case("/workshops/abc/seats?keep_data=true", "keep_data")]
#[tokio::test]
async fn a_query_that_is_wrong(#[case] target: &str, #[case] field: &str) {
    let service = Service::new();
    assert_eq!(service.post(target, json!({"seat": 1})).await.wrong_fields(), [field]);
}

#[tokio::test]
async fn flags_are_true_or_false() {
    let service = Service::new();
    for value in ["", "1", "yes", "TRUE", "true "] {
        let target = format!("/workshops/abc?keep_data={}", value.replace(' ', "%20"));
        assert_eq!(service.delete(&target).await.wrong_fields(), ["keep_data"], "{value:?}");
    }
    assert_eq!(service.get("/workshops?all=true").await.wrong_fields(), ["all"]);
    let answer = service.put("/workshops/abc?keep_data=true", json!({"seats": 1})).await;
    assert_eq!(answer.wrong_fields(), ["keep_data"]);
}

#[rstest]
#[case(json!({"seats": 0}))]
#[case(json!({"seats": 101}))]
#[case(json!({"seats": []}))]
#[case(json!({"seats": [1, 2, 1]}))]
#[case(json!({"seats": "3"}))]
#[case(json!({}))]
#[tokio::test]
async fn a_class_that_is_none(#[case] body: Value) {
    let service = Service::new();
    assert_eq!(service.put("/workshops/abc", body).await.wrong_fields(), ["seats"]);
    assert!(service.world.is_empty());
}

#[rstest]
#[case("")]
#[case("{")]
#[case("{\"seat\":1,}")]
#[case("{\"seat\":1,\"seat\":2}")]
#[case("seat=1")]
#[tokio::test]
async fn a_body_that_is_not_json(#[case] body: &str) {
    let answer = Service::new().post("/workshops/abc/seats", body).await.is(400);
    assert_eq!(answer.problem(), "invalid_json");
}

#[tokio::test]
async fn deep_nesting_huge_numbers_and_bad_utf8() {
    let service = Service::new();
    let deep = format!("{{\"seat\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(service.post("/workshops/abc/seats", deep).await.is(400).problem(), "invalid_json");
    let huge = format!("{{\"seat\":{}}}", "9".repeat(10_000));
    assert_eq!(service.post("/workshops/abc/seats", huge).await.is(400).problem(), "invalid_json");
    let large = "{\"seat\":99999999999999999999}";
    assert_eq!(service.post("/workshops/abc/seats", large).await.wrong_fields(), ["seat"]);
    let bytes = Body::from(&b"{\"seat\":1,\"image\":\"\xff\"}"[..]);
    let bad =
        request(Method::POST, "/workshops/abc/seats").header("content-type", "application/json").body(bytes);
    assert_eq!(service.send(bad.unwrap()).await.is(400).problem(), "invalid_json");
}

#[tokio::test]
async fn a_body_of_another_type() {
    let service = Service::new();
    for content_type in [None, Some("text/plain"), Some("application/json; charset=utf-16")] {
        let mut builder = request(Method::POST, "/workshops/abc/seats");
        if let Some(content_type) = content_type {
            builder = builder.header("content-type", content_type);
        }
        let answer = service.send(builder.body(Body::from("{\"seat\":1}")).unwrap()).await.is(415);
        assert_eq!(answer.problem(), "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_with_and_without_a_length() {
    let service = Service::with(policy(), ApiConfig { max_body: 1000, ..ApiConfig::default() });
    let text = json!({"seat": 1, "image": "x".repeat(1000)}).to_string();
    assert_eq!(service.post("/workshops/abc/seats", &text).await.is(413).problem(), "body_too_large");
    let chunks =
        text.as_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)));
    let body = Body::from_stream(stream::iter(chunks.collect::<Vec<_>>()));
    let request = request(Method::POST, "/workshops/abc/seats").header("content-type", "application/json");
    assert_eq!(service.send(request.body(body).unwrap()).await.is(413).problem(), "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_slow() {
    let service = Service::new();
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let request = request(Method::POST, "/workshops/abc/seats").header("content-type", "application/json");
    assert_eq!(service.send(request.body(body).unwrap()).await.is(408).problem(), "body_timeout");
}

#[tokio::test]
async fn what_the_policy_refuses_names_its_field() {
    let allowed_images = vec!["school/*".parse().unwrap()];
    let service = Service::with(Policy { allowed_images, ..policy() }, ApiConfig::default());
    let answer = service.post("/workshops/abc/seats", json!({"seat": 1, "image": "evil/one"})).await;
    assert_eq!(answer.wrong_fields(), ["image"]);
    let answer = service.put("/workshops/abc", json!({"seats": 2, "image": "evil/one"})).await;
    assert_eq!(answer.wrong_fields(), ["image"]);
}

#[tokio::test]
async fn the_bound_is_configured() {
    let bound = SeatBound::new(3).unwrap();
    let service = Service::with(policy(), ApiConfig { bound, ..ApiConfig::default() });
    assert_eq!(service.post("/workshops/abc/seats", json!({"seat": 4})).await.wrong_fields(), ["seat"]);
    assert_eq!(service.put("/workshops/abc", json!({"seats": 4})).await.wrong_fields(), ["seats"]);
    service.put("/workshops/abc", json!({"seats": 3})).await.is(200);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let service = Service::new();
    for target in ["/", "/workshop", "/workshops/", "/workshops/abc/seats/1/x", "/%ff"] {
        assert_eq!(service.get(target).await.is(404).problem(), "not_found", "{target}");
    }
    let answer = service.delete("/workshops").await.is(405);
    assert_eq!((answer.problem().as_str(), answer.header("allow")), ("method_not_allowed", Some("GET,HEAD")));
    let answer = service.send(json_request(Method::PATCH, "/workshops/abc/seats", "{}")).await.is(405);
    let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let odd = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(service.send(json_request(odd, "/livez", "")).await.is(405).problem(), "method_not_allowed");
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let service = Service::new();
    let with =
        |id: &str| request(Method::GET, "/livez").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(service.send(with("portal-42")).await.header("x-request-id"), Some("portal-42"));
    let made = service.send(with("two words")).await.header("x-request-id").unwrap().to_owned();
    assert_eq!(made.len(), 36);
    assert_ne!(service.get("/livez").await.header("x-request-id"), Some(made.as_str()));
}
