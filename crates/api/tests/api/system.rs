//! What the service says about itself.

use std::time::Duration;

use api::ApiConfig;
use provider_sim::{Fault, Step};
use serde_json::{Value, json};

use crate::service::{Service, policy};

#[tokio::test]
async fn it_is_alive_ready_and_has_a_version() {
    let service = Service::new();
    assert_eq!(service.get("/health").await.is(200).json()["status"], "ok");
    assert_eq!(service.get("/livez").await.is(200).json()["status"], "ok");
    let ready = service.get("/readyz").await.is(200).json();
    assert_eq!((&ready["status"], &ready["checks"][0]["ok"]), (&json!("ready"), &json!(true)));
    let version = service.get("/version").await.is(200).json();
    assert_eq!((&version["provider"], &version["api"]), (&json!("sim"), &json!("1.0.0")));
    let document = service.get("/openapi.json").await.is(200);
    assert_eq!(document.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn an_engine_that_is_down_shows_and_comes_back() {
    let service = Service::new();
    service.world.set_down(true);
    let ready = service.get("/readyz").await.is(503).json();
    let check = &ready["checks"][0];
    assert_eq!(
        (&ready["status"], &check["name"], &check["ok"]),
        (&json!("unready"), &json!("sim"), &json!(false))
    );
    assert!(!check["remedy"].as_str().unwrap().is_empty());
    service.get("/livez").await.is(200);
    service.get("/health").await.is(200);
    service.world.set_down(false);
    service.get("/readyz").await.is(200);
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let service = Service::new();
    service.put("/workshops/abc", json!({"seats": 2})).await.is(200);
    service.get("/workshops/Bad").await.is(400);
    let answer = service.get("/metrics").await.is(200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    let expect =
        |series: &str, expected: f64| assert_eq!(value(text, series), Some(expected), "{series}\n{text}");
    expect("orchestrator_seats{status=\"running\"}", 2.0);
    expect("orchestrator_seats{status=\"error\"}", 0.0);
    expect("orchestrator_provider_up{provider=\"sim\"}", 1.0);
    expect("orchestrator_creates_working", 0.0);
    expect("orchestrator_creates_waiting", 0.0);
    expect("orchestrator_operations_total{operation=\"create\",provider=\"sim\",outcome=\"ok\"}", 2.0);
    expect(
        "orchestrator_operation_duration_seconds_count{operation=\"create\",provider=\"sim\",outcome=\"ok\"}",
        2.0,
    );
    expect("orchestrator_create_stage_duration_seconds_count{provider=\"sim\",stage=\"create\"}", 2.0);
    expect("orchestrator_http_requests_total{method=\"GET\",route=\"/workshops/{id}\",status=\"400\"}", 1.0);
    expect("orchestrator_http_request_duration_seconds_count{method=\"PUT\",route=\"/workshops/{id}\"}", 1.0);
    assert!(text.contains("orchestrator_build_info{version="));
    if cfg!(target_os = "linux") {
        assert!(value(text, "process_resident_memory_bytes").unwrap() > 1e6);
        assert!(value(text, "process_start_time_seconds").unwrap() > 1e9);
        assert!(
            value(text, "process_cpu_seconds_total").is_some() && value(text, "process_open_fds").is_some()
        );
    }
}

#[tokio::test]
async fn seats_are_left_out_when_nobody_knows() {
    let config = ApiConfig {
        scrape_timeout: Duration::from_millis(100),
        check_timeout: Duration::from_millis(100),
        ..ApiConfig::default()
    };
    let service = Service::with(policy(), config);
    service.world.set_down(true);
    let down = service.get("/metrics").await.is(200);
    service.world.set_down(false);
    let gate = service.world.hang(Fault::at(Step::List).times(100));
    let hanging = service.get("/metrics").await.is(200);
    for answer in [down, hanging] {
        assert_eq!(value(answer.text(), "orchestrator_provider_up{provider=\"sim\"}"), Some(0.0));
        assert!(!answer.text().contains("orchestrator_seats{"));
    }
    gate.release();
}

#[tokio::test]
async fn what_a_caller_writes_is_no_label() {
    let service = Service::new();
    for number in 0..20 {
        service.get(&format!("/nowhere/{number}")).await.is(404);
        service.get(&format!("/workshops/abc{number}/seats")).await.is(200);
    }
    let text = service.get("/metrics").await.is(200).text().to_owned();
    assert!(text.contains("route=\"unmatched\",status=\"404\"} 20"), "{text}");
    assert!(!text.contains("nowhere") && !text.contains("abc1"), "{text}");
}

#[tokio::test]
async fn the_served_document_is_that_of_this_service() {
    let bound = seats::SeatBound::new(12).unwrap();
    let max_wait = Duration::from_secs(60);
    let service = Service::with(policy(), ApiConfig { bound, max_wait, ..ApiConfig::default() });
    let document = service.get("/openapi.json").await.is(200).json();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["SeatNumber"]["maximum"], 12);
    assert_eq!(schemas["ClassRequest"]["properties"]["seats"]["oneOf"][0]["maximum"], 12);
    assert_eq!(schemas["Limits"]["properties"]["pids"]["maximum"], 4096);
    assert_eq!(schemas["Limits"]["properties"]["cpus"]["maximum"], 4.0);
    assert_eq!(document["security"], Value::Null, "without a token none is needed");
}
