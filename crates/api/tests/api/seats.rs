//! Single seats: the four original routes, and showing one.

use std::time::Duration;

use futures_util::future::join_all;
use provider_sim::{Fault, SimImage, Step};
use serde_json::{Value, json};

use crate::service::{Service, policy, seat};

#[tokio::test]
async fn the_original_four_routes() {
    let service = Service::new();
    let made =
        service.post("/workshops/abc/seats", json!({"seat": 1, "api_key": "sk-canary-secret"})).await.is(201);
    assert_eq!(made.header("location"), Some("/workshops/abc/seats/1"));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.header("x-content-type-options"), Some("nosniff"));
    let timing = made.header("server-timing").unwrap();
    assert!(timing.contains("create;dur=") && timing.contains("ready;dur="), "{timing}");
    let instance = made.json();
    assert_eq!((&instance["workshop"], &instance["seat"]), (&json!("abc"), &json!(1)));
    assert_eq!((&instance["status"], &instance["provider"]), (&json!("running"), &json!("sim")));
    assert_eq!(instance["endpoint"], instance["endpoints"]["3001"]);
    assert!(instance["created_at"].as_str().unwrap().ends_with('Z'));

    let found =
        service.post("/workshops/abc/seats", json!({"seat": 1, "api_key": "sk-canary-secret"})).await.is(200);
    assert_eq!((found.header("location"), &found.json()["id"]), (None, &instance["id"]));

    let listed = service.get("/workshops/abc/seats").await.is(200);
    assert_eq!(listed.json()["workshop"], "abc");
    assert_eq!(listed.json()["seats"].as_array().unwrap().len(), 1);

    service.delete("/workshops/abc/seats/1").await.is(204);
    service.delete("/workshops/abc/seats/1").await.is(204);
    service.delete("/workshops/abc").await.is(204);
    service.delete("/workshops/abc").await.is(204);
    assert!(service.world.is_empty());
    for answer in [made, found, listed] {
        assert!(!answer.text().contains("sk-canary"));
    }
}

#[tokio::test]
async fn an_instance_has_its_members_in_order() {
    let service = Service::new();
    let made = service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
    let text = made.text().to_owned();
    let members = [
        "id",
        "workshop",
        "seat",
        "ip",
        "status",
        "endpoint",
        "endpoints",
        "ports",
        "image",
        "provider",
        "created_at",
        "expires_at",
        "reason",
    ];
    let places: Vec<_> = members.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn another_spec_is_a_conflict_that_quotes_no_secret() {
    let service = Service::new();
    service.post("/workshops/abc/seats", json!({"seat": 1, "api_key": "sk-canary-one"})).await.is(201);
    let other = json!({"seat": 1, "api_key": "sk-canary-two", "env": {"A": "sk-canary-three"}});
    let answer = service.post("/workshops/abc/seats", other).await.is(409);
    assert_eq!(answer.problem(), "seat_conflict");
    assert!(!answer.text().contains("sk-canary"), "{}", answer.text());
}

#[tokio::test]
async fn a_seat_that_takes_longer_than_the_wait_is_accepted() {
    let service = Service::new();
    let slow = SimImage::slow(Duration::from_millis(300));
    service.world.add_image(&"slow".parse().unwrap(), slow);
    let body = json!({"seat": 1, "image": "slow"});
    let accepted = service.post("/workshops/abc/seats?wait=0s", &body).await.is(202);
    assert_eq!(accepted.json()["status"], "starting");
    assert_eq!(accepted.header("location"), Some("/workshops/abc/seats/1"));
    assert_eq!(accepted.header("retry-after"), Some("1"));
    let settled = service.post("/workshops/abc/seats?wait=1m", &body).await;
    assert!([200, 201].contains(&settled.status.as_u16()), "{}", settled.text());
    assert_eq!(settled.json()["status"], "running");
    service.post("/workshops/abc/seats?wait=500ms", &body).await.is(200);
}

#[tokio::test]
async fn a_broken_workspace_is_made_and_says_why() {
    let service = Service::new();
    service.world.add_image(&"broken".parse().unwrap(), SimImage::exits(7, "no such file"));
    let made = service.post("/workshops/abc/seats", json!({"seat": 1, "image": "broken"})).await.is(201);
    assert_eq!(made.json()["status"], "error");
    let reason = made.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains('7') && reason.contains("no such file"), "{reason}");
}

#[tokio::test]
async fn fifty_creates_of_one_seat_make_one() {
    let service = Service::new();
    let creates =
        (0..50).map(|_| service.post("/workshops/abc/seats", json!({"seat": 1, "api_key": "sk-canary-k"})));
    let mut statuses: Vec<u16> =
        join_all(creates).await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[48], statuses[49]), (200, 201));
    assert_eq!(service.world.calls(Step::Create), 1);
}

#[tokio::test]
async fn everything_optional_arrives() {
    let service = Service::new();
    let body = json!({
        "seat": 2, "api_key": "sk-canary-1", "env": {"EDITOR": "vim"},
        "limits": {"cpus": 1.5, "memory_mib": 512, "pids": 256},
    });
    service.post("/workshops/abc/seats", body).await.is(201);
    let env = service.world.environment(&seat("abc", 2)).unwrap();
    assert_eq!((env["EDITOR"].as_str(), env["ANTHROPIC_API_KEY"].as_str()), ("vim", "sk-canary-1"));
    let limits = service.world.limits(&seat("abc", 2)).unwrap();
    assert_eq!((limits.cpu_millis, limits.memory_mib, limits.pids), (1500, 512, 256));
}

#[tokio::test]
async fn a_seat_is_shown_or_not_found() {
    let service = Service::new();
    service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
    assert_eq!(service.get("/workshops/abc/seats/1").await.is(200).json()["seat"], 1);
    assert_eq!(service.get("/workshops/abc/seats/2").await.is(404).problem(), "seat_not_found");
    assert_eq!(service.get("/workshops/xyz/seats/1").await.is(404).problem(), "seat_not_found");
}

#[tokio::test]
async fn kept_data_is_there_again() {
    let service = Service::new();
    service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
    assert!(service.world.write_file(&seat("abc", 1), "work"));
    service.delete("/workshops/abc/seats/1?keep_data=true").await.is(204);
    service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
    assert_eq!(service.world.read_file(&seat("abc", 1)).as_deref(), Some("work"));
    service.delete("/workshops/abc/seats/1?keep_data=false").await.is(204);
    service.post("/workshops/abc/seats", json!({"seat": 1})).await.is(201);
    assert_eq!(service.world.read_file(&seat("abc", 1)), None);
}

#[tokio::test]
async fn lists_are_ordered_and_never_wait_for_creating() {
    let service = Service::new();
    for number in [10, 2, 1] {
        service.post("/workshops/abc/seats", json!({ "seat": number })).await.is(201);
    }
    let gate = service.world.hang(Fault::at(Step::Create));
    service.post("/workshops/abc/seats?wait=0", json!({"seat": 5})).await.is(202);
    gate.reached(1).await;
    let listed = service.get("/workshops/abc/seats").await.is(200).json();
    let seats: Vec<_> = listed["seats"].as_array().unwrap().iter().map(|one| one["seat"].clone()).collect();
    assert_eq!(seats, [json!(1), json!(2), json!(5), json!(10)]);
    assert_eq!(
        (&listed["seats"][2]["status"], &listed["seats"][2]["id"]),
        (&json!("starting"), &Value::Null)
    );
    gate.release();
}

#[tokio::test]
async fn an_unknown_workshop_has_an_empty_list() {
    let listed = Service::new().get("/workshops/nobody/seats").await.is(200);
    assert_eq!(listed.json(), json!({"workshop": "nobody", "seats": []}));
}

#[tokio::test]
async fn a_seat_made_before_the_bound_was_lowered_is_shown_and_destroyed() {
    let before = Service::new();
    before.post("/workshops/abc/seats", json!({"seat": 60})).await.is(201);
    let config = api::ApiConfig { bound: seats::SeatBound::new(50).unwrap(), ..api::ApiConfig::default() };
    let service = Service::over(before.world.clone(), policy(), config);
    assert_eq!(service.get("/workshops/abc/seats/60").await.is(200).json()["status"], "running");
    let refused = service.get("/workshops/abc/seats/61").await.is(400).json();
    assert_eq!(refused["errors"][0]["message"], "a seat is from 1 to 50");
    service.delete("/workshops/abc/seats/61").await.is(400);
    service.post("/workshops/abc/seats", json!({"seat": 60})).await.is(400);
    service.delete("/workshops/abc/seats/60").await.is(204);
    assert!(before.world.is_empty());
}
