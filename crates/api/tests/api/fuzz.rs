//! Whatever comes in, the answer is a complete one and never a 5xx.

use axum::body::Body;
use http::{Method, Request};
use proptest::prelude::*;
use serde_json::Value;

use crate::service::{Answer, Service};

fn ask(method: Method, target: String, body: Vec<u8>) -> Option<Answer> {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Some(runtime.block_on(async { Service::new().send(request).await }))
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::GET),
        Just(Method::HEAD),
        Just(Method::POST),
        Just(Method::PUT),
        Just(Method::DELETE),
        Just(Method::OPTIONS),
        Just(Method::TRACE),
    ]
}

fn target() -> impl Strategy<Value = String> {
    let id = prop_oneof![Just("abc".to_owned()), "[a-zA-Z0-9%_-]{0,24}"];
    let seat = prop_oneof![Just("1".to_owned()), "[0-9%a-f+-]{0,8}"];
    let query = prop_oneof![
        Just(String::new()),
        "\\?(wait|keep_data|prune|x)=[0-9a-z%&=+]{0,8}",
        "\\?wait=[0-9]{1,3}ms",
    ];
    prop_oneof![
        (id.clone(), query.clone()).prop_map(|(id, query)| format!("/workshops/{id}{query}")),
        (id.clone(), query.clone()).prop_map(|(id, query)| format!("/workshops/{id}/seats{query}")),
        (id, seat, query).prop_map(|(id, seat, query)| format!("/workshops/{id}/seats/{seat}{query}")),
        "/[a-z./%0-9]{0,12}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = "(seat|seats|api_key|api_keys|image|env|limits|cpus|x)";
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (0i64..120).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
        "\\PC{0,6}".prop_map(Value::from),
        proptest::collection::vec((0u64..5).prop_map(Value::from), 0..4).prop_map(Value::from),
        proptest::collection::btree_map(field, "\\PC{0,4}".prop_map(Value::from), 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
    ];
    prop_oneof![
        4 => proptest::collection::btree_map(field, value, 0..5)
            .prop_map(|map| Value::Object(map.into_iter().collect()).to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_answer_is_complete(method in method(), target in target(), body in body()) {
        if let Some(answer) = ask(method.clone(), target.clone(), body) {
            let status = answer.status.as_u16();
            // An image that a request makes up is nowhere to be had: that is the one thing outside its control.
            prop_assert!(status < 500, "{} {} {}", method, target, answer.text());
            prop_assert!(answer.header("x-request-id").is_some());
            if status >= 400 && method != Method::HEAD {
                answer.problem();
            }
        }
    }
}
