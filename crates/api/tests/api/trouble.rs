//! When the infrastructure is in trouble: the right status, a remedy, and nothing left behind.

use std::time::Duration;

use api::ApiConfig;
use http::Method;
use lifecycle::Policy;
use provider_sim::{Fault, Step, instance_name, network_name};
use rstest::rstest;
use seats::ObjectKind;
use serde_json::json;
use tower::ServiceExt;

use crate::service::{Service, json as json_request, policy, seat};

#[tokio::test]
async fn the_engine_is_down() {
    let service = Service::new();
    service.world.set_down(true);
    let answers = [
        service.get("/workshops").await,
        service.get("/workshops/abc").await,
        service.get("/workshops/abc/seats").await,
        service.get("/workshops/abc/seats/1").await,
        service.post("/workshops/abc/seats", json!({"seat": 1})).await,
        service.delete("/workshops/abc/seats/1").await,
        service.delete("/workshops/abc").await,
    ];
    for answer in answers {
        let answer = answer.is(503);
        assert_eq!(answer.problem(), "engine_unavailable");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    service.world.set_down(false);
    service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
}

#[tokio::test]
async fn the_image_is_nowhere() {
    let service = Service::new();
    let answer =
        service.post("/workshops/abc/seats", json!({"seat": 1, "image": "nobody/has:it"})).await.is(422);
    assert_eq!(answer.problem(), "image_unavailable");
    assert!(service.world.is_empty());
}

#[rstest]
#[case(ObjectKind::Instance)]
#[case(ObjectKind::Network)]
#[tokio::test]
async fn a_name_is_taken(#[case] kind: ObjectKind) {
    let service = Service::new();
    let name = match kind {
        ObjectKind::Network => network_name(&"abc".parse().unwrap()),
        _ => instance_name(&seat("abc", 1)),
    };
    service.world.plant_foreign(kind, name.clone());
    let answer = service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(409);
    assert_eq!(answer.problem(), "name_taken");
    assert!(service.world.has_foreign(kind, &name) && service.world.is_empty());
}

#[tokio::test]
async fn the_disk_is_full() {
    let service = Service::new();
    service.world.fail(Fault::at(Step::Create).host_full());
    let answer = service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(503);
    assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("host_full", Some("30")));
    assert!(service.world.is_empty());
}

#[tokio::test]
async fn the_engine_refuses() {
    let service = Service::new();
    service.world.fail(Fault::at(Step::Start));
    let answer =
        service.post("/workshops/abc/seats", json!({"seat": 1, "api_key": "sk-canary-secret"})).await.is(502);
    assert_eq!(answer.problem(), "provider_failed");
    assert!(!answer.text().contains("sk-canary") && service.world.is_empty());
}

#[tokio::test]
async fn the_line_is_full() {
    let service = Service::with(Policy { parallel: 1, queue: 1, ..policy() }, ApiConfig::default());
    let gate = service.world.hang(Fault::at(Step::Create).times(9));
    service.post("/workshops/abc/seats?wait=0", json!({"seat": 1})).await.is(202);
    gate.reached(1).await;
    service.post("/workshops/abc/seats?wait=0", json!({"seat": 2})).await.is(202);
    let answer = service.post("/workshops/abc/seats?wait=0", json!({"seat": 3})).await.is(429);
    assert_eq!(answer.problem(), "queue_full");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    gate.release();
}

#[tokio::test]
async fn the_service_is_shutting_down() {
    let service = Service::new();
    assert_eq!(service.lifecycle.drain(Duration::from_secs(1)).await, 0);
    let answer = service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(503);
    assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("shutting_down", Some("5")));
    service.put("/workshops/abc", json!({"seats": 1})).await.is(503);
    service.get("/workshops").await.is(200);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_whole_seat() {
    let service = Service::new();
    let gate = service.world.hang(Fault::at(Step::Create));
    let create = service.router.clone().oneshot(json_request(
        Method::POST,
        "/workshops/abc/seats",
        json!({"seat": 1}),
    ));
    let gone = tokio::spawn(create);
    gate.reached(1).await;
    gone.abort();
    gate.release();
    assert_eq!(service.lifecycle.drain(Duration::from_secs(10)).await, 0);
    assert_eq!(service.settled("/workshops/abc/seats/1").await, "running");
    let metrics = service.get("/metrics").await;
    assert!(metrics.text().contains("status=\"499\"} 1"), "{}", metrics.text());
}
