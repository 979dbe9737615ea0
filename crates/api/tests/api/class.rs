//! A class as one object.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use provider_sim::{Fault, SimImage, Step};
use seats::ObjectKind;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::service::{Service, json as json_request, request, seat};

#[tokio::test]
async fn a_class_converges_and_again() {
    let service = Service::new();
    let first =
        service.put("/workshops/abc", json!({"seats": 3, "api_key": "sk-canary-secret"})).await.is(200);
    let body = first.json();
    assert_eq!((&body["workshop"], &body["converged"]), (&json!("abc"), &json!(true)));
    assert_eq!((&body["counts"]["created"], &body["counts"]["failed"]), (&json!(3), &json!(0)));
    let seats: Vec<_> = body["seats"].as_array().unwrap().iter().map(|one| one["seat"].clone()).collect();
    assert_eq!(seats, [json!(1), json!(2), json!(3)]);
    let one = &body["seats"][0];
    assert_eq!((&one["outcome"], &one["instance"]["status"]), (&json!("created"), &json!("running")));
    assert_eq!((&one["code"], &one["reason"]), (&Value::Null, &Value::Null));
    assert!(one["took_ms"].is_number() && one["timings"]["create"].is_number());
    assert!(!first.text().contains("sk-canary"));

    let again = service
        .put("/workshops/abc", json!({"seats": 3, "api_key": "sk-canary-secret"}))
        .await
        .is(200)
        .json();
    assert_eq!(again["counts"]["unchanged"], 3);

    let shown = service.get("/workshops/abc").await.is(200).json();
    assert_eq!((&shown["running"], &shown["starting"]), (&json!(3), &json!(0)));
    assert_eq!(shown["seats"].as_array().unwrap().len(), 3);
    service.put("/workshops/xyz", json!({"seats": [7]})).await.is(200);
    let all = service.get("/workshops").await.is(200).json();
    let summary = |name: &str, seats: u64| json!({"workshop": name, "seats": seats, "running": seats, "starting": 0, "stopped": 0, "error": 0});
    assert_eq!(all, json!({"workshops": [summary("abc", 3), summary("xyz", 1)]}));

    service.delete("/workshops/abc").await.is(204);
    assert_eq!(service.get("/workshops/abc").await.is(404).problem(), "workshop_not_found");
}

#[tokio::test]
async fn each_seat_may_have_a_key_of_its_own() {
    let service = Service::new();
    let body = json!({"seats": [1, 2], "api_key": "sk-canary-all", "api_keys": {"2": "sk-canary-own"}});
    service.put("/workshops/abc", body).await.is(200);
    let key = |number| service.world.environment(&seat("abc", number)).unwrap()["ANTHROPIC_API_KEY"].clone();
    assert_eq!((key(1), key(2)), ("sk-canary-all".into(), "sk-canary-own".into()));
}

#[tokio::test]
async fn one_broken_seat_does_not_hide_the_others() {
    let service = Service::new();
    service.world.fail(Fault::at(Step::Create).only(&seat("abc", 2)));
    let body = service.put("/workshops/abc", json!({"seats": 3})).await.is(200).json();
    assert_eq!(body["converged"], false);
    let broken = &body["seats"][1];
    assert_eq!((&broken["outcome"], &broken["code"]), (&json!("failed"), &json!("provider_failed")));
    assert!(!broken["reason"].as_str().unwrap().is_empty());
    assert_eq!(body["counts"]["created"], 2);
    let again = service.put("/workshops/abc", json!({"seats": 3})).await.is(200).json();
    assert_eq!((&again["converged"], &again["counts"]["created"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn seats_that_are_not_wished_for_stay_unless_pruned() {
    let service = Service::new();
    service.put("/workshops/abc", json!({"seats": [1, 2, 3]})).await.is(200);
    assert!(service.world.write_file(&seat("abc", 3), "work"));
    let body = service.put("/workshops/abc", json!({"seats": [1]})).await.is(200).json();
    assert_eq!((&body["counts"]["surplus"], &body["seats"][2]["outcome"]), (&json!(2), &json!("surplus")));
    let body =
        service.put("/workshops/abc?prune=true&keep_data=true", json!({"seats": [1]})).await.is(200).json();
    assert_eq!(body["counts"]["destroyed"], 2);
    assert_eq!(service.world.read_file(&seat("abc", 3)).as_deref(), Some("work"));
    service.put("/workshops/abc", json!({"seats": [3]})).await.is(200);
    service.put("/workshops/abc?prune=true", json!({"seats": [1]})).await.is(200);
    assert_eq!(service.world.read_file(&seat("abc", 3)), None);
}

#[tokio::test]
async fn a_class_that_takes_longer_than_the_wait_tells_what_is_known() {
    let service = Service::new();
    let gate = service.world.hang(Fault::at(Step::Create).only(&seat("abc", 2)));
    let accepted = service.put("/workshops/abc?wait=700ms", json!({"seats": 2})).await.is(202);
    assert_eq!(accepted.header("location"), Some("/workshops/abc"));
    let body = accepted.json();
    assert_eq!((&body["converged"], &body["counts"]["pending"]), (&json!(false), &json!(1)));
    assert_eq!(body["seats"][0]["outcome"], "created");
    assert_eq!(body["seats"][1]["reason"], "in stage create");
    gate.release();
    let body = service.put("/workshops/abc", json!({"seats": 2})).await.is(200).json();
    assert_eq!(body["converged"], true);
}

#[tokio::test]
async fn an_engine_that_is_down_is_one_problem() {
    let service = Service::new();
    service.world.set_down(true);
    let answer = service.put("/workshops/abc", json!({"seats": 3})).await.is(503);
    assert_eq!(answer.problem(), "engine_unavailable");
    assert!(answer.header("retry-after").is_some());
    service.world.set_down(false);
    service.put("/workshops/abc", json!({"seats": 3})).await.is(200);
}

#[tokio::test]
async fn a_conflict_is_reported_and_left_alone() {
    let service = Service::new();
    service.put("/workshops/abc", json!({"seats": 2, "api_key": "sk-canary-a"})).await.is(200);
    let body =
        service.put("/workshops/abc", json!({"seats": 2, "api_key": "sk-canary-b"})).await.is(200).json();
    assert_eq!((&body["counts"]["conflict"], &body["converged"]), (&json!(2), &json!(false)));
    assert_eq!(body["seats"][0]["code"], "seat_conflict");
}

#[tokio::test]
async fn a_name_taken_by_somebody_else_fails_only_that_seat() {
    let service = Service::new();
    let name = provider_sim::instance_name(&seat("abc", 1));
    service.world.plant_foreign(ObjectKind::Instance, name.clone());
    let body = service.put("/workshops/abc", json!({"seats": 2})).await.is(200).json();
    assert_eq!((&body["seats"][0]["code"], &body["counts"]["created"]), (&json!("name_taken"), &json!(1)));
    assert!(service.world.has_foreign(ObjectKind::Instance, &name));
}

/// The events of a stream: name and data.
fn events(text: &str) -> Vec<(String, Value)> {
    text.split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("event:")?.to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        })
        .collect()
}

#[tokio::test]
async fn a_class_is_streamed() {
    let service = Service::new();
    service.world.add_image(&"slow".parse().unwrap(), SimImage::slow(Duration::from_millis(600)));
    let stream = request(Method::PUT, "/workshops/abc")
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(Body::from(json!({"seats": 2, "image": "slow"}).to_string()))
        .unwrap();
    let answer = service.send(stream).await.is(200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let events = events(answer.text());
    let count = |name: &str| events.iter().filter(|(event, _)| event == name).count();
    assert_eq!((count("seat"), count("done")), (2, 1), "{events:?}");
    assert!(count("stage") >= 2, "{events:?}");
    let (last, body) = events.last().unwrap();
    assert_eq!((last.as_str(), &body["converged"]), ("done", &json!(true)));
    assert!(events.iter().any(|(event, data)| event == "stage" && data["stage"] == "ready"), "{events:?}");
}

#[tokio::test]
async fn dropping_the_stream_or_the_request_does_not_stop_the_work() {
    let service = Service::new();
    let gate = service.world.hang(Fault::at(Step::Create).times(4));
    let stream = request(Method::PUT, "/workshops/abc")
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(Body::from(json!({"seats": 2}).to_string()))
        .unwrap();
    let response = service.router.clone().oneshot(stream).await.unwrap();
    let mut body = response.into_body();
    gate.reached(2).await;
    let _ = tokio::time::timeout(Duration::from_millis(400), body.frame()).await;
    drop(body);
    let waiting =
        service.router.clone().oneshot(json_request(Method::PUT, "/workshops/xyz", json!({"seats": 2})));
    let _ = tokio::time::timeout(Duration::from_millis(50), waiting).await;
    gate.reached(4).await;
    gate.release();
    assert_eq!(service.lifecycle.drain(Duration::from_secs(10)).await, 0);
    for workshop in ["abc", "xyz"] {
        for number in 1..=2 {
            let status = service.settled(&format!("/workshops/{workshop}/seats/{number}")).await;
            assert_eq!(status, "running", "{workshop}/{number}");
        }
    }
}
