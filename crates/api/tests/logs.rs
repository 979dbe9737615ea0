//! What the log says about a request, and what it never says.
//!
//! A program of its own: whether a line is logged is decided once for the whole process, and tests beside this one
//! would decide it without a log.

// A test may stop at the first surprise, also in its helpers, and reads better without borrowing every literal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

#[allow(dead_code)] // it has more ways to ask than are needed here
#[path = "api/service.rs"]
mod service;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::Method;
use provider_sim::{Fault, Step};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use service::{Service, request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn every_line_of_a_request_has_its_id_and_none_has_a_secret() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    // The runtime of this test has this one thread, so this catches the tasks as well.
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let service = Service::new();
    service.world.fail(Fault::at(Step::Start));
    let body = json!({"seat": 1, "api_key": "sk-canary-secret-1", "env": {"TOKEN": "sk-canary-secret-2"}});
    let create = request(Method::POST, "/workshops/abc/seats?wait=5s")
        .header("x-request-id", "portal-42")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    service.send(create).await.is(502);
    service.get("/workshops/abc?api_key=sk-canary-secret-3").await.is(400);
    service.post("/workshops/abc/seats", "{\"api_key\":\"sk-canary-secret-4\"").await.is(400);
    let text = log.text();
    assert!(!text.contains("sk-canary"), "{text}");

    let lines = log.lines();
    let answered: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "answered").collect();
    assert_eq!(answered.len(), 3, "{text}");
    let first = answered[0];
    assert_eq!((&first["fields"]["status"], &first["level"]), (&json!(502), &json!("INFO")));
    assert_eq!(first["fields"]["code"], "provider_failed");
    assert!(first["fields"]["latency_ms"].is_number());
    assert_eq!(
        (&first["span"]["method"], &first["span"]["route"]),
        (&json!("POST"), &json!("/workshops/{id}/seats"))
    );
    let of_create = lines.iter().filter(|line| {
        line["spans"]
            .as_array()
            .is_some_and(|spans| spans.iter().any(|span| span["request_id"] == "portal-42"))
    });
    assert!(of_create.count() >= 3, "the work's own lines carry the id as well: {text}");
}
