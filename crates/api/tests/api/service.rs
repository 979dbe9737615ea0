//! A whole service in memory, and short ways to ask it.

use std::sync::Arc;
use std::time::Duration;

use api::{ApiConfig, Metrics};
use axum::Router;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lifecycle::{Lifecycle, Policy};
use provider_sim::{DEFAULT_IMAGE, SimProvider, World, WorldOptions};
use seats::{Limits, SeatBound, SeatRef};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) router: Router,
}

pub(crate) fn policy() -> Policy {
    Policy {
        image: DEFAULT_IMAGE.parse().unwrap(),
        allowed_images: Vec::new(),
        limits: Limits::default(),
        ceiling: Limits { cpu_millis: 4000, memory_mib: 4096, pids: 4096 },
        parallel: 4,
        queue: 200,
        start_timeout: Duration::from_secs(5),
    }
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with(policy(), ApiConfig::default())
    }

    pub(crate) fn with(policy: Policy, config: ApiConfig) -> Self {
        Self::over(World::new(WorldOptions { http: false, ..WorldOptions::default() }), policy, config)
    }

    pub(crate) fn over(world: World, policy: Policy, config: ApiConfig) -> Self {
        let metrics = Arc::new(Metrics::new());
        let provider = Arc::new(SimProvider::new(world.clone()));
        let lifecycle = Lifecycle::new(provider, policy.checked().unwrap(), metrics.clone());
        let router = api::router(lifecycle.clone(), config, metrics);
        Self { world, lifecycle, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(request(Method::GET, target).body(Body::empty()).unwrap()).await
    }

    /// Waits until a seat is settled, at most ten seconds, and returns its status.
    pub(crate) async fn settled(&self, target: &str) -> String {
        for _ in 0..1000 {
            let status = self.get(target).await.is(200).json()["status"].as_str().unwrap().to_owned();
            if status != "starting" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{target} does not settle");
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.send(request(Method::DELETE, target).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, target: &str, body: impl ToString) -> Answer {
        self.send(json(Method::POST, target, body)).await
    }

    pub(crate) async fn put(&self, target: &str, body: impl ToString) -> Answer {
        self.send(json(Method::PUT, target, body)).await
    }
}

pub(crate) fn request(method: Method, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target).header("host", "localhost:8080")
}

pub(crate) fn json(method: Method, target: &str, body: impl ToString) -> Request<Body> {
    let builder = request(method, target).header("content-type", "application/json");
    builder.body(Body::from(body.to_string())).unwrap()
}

pub(crate) fn seat(workshop: &str, number: u64) -> SeatRef {
    SeatRef::new(workshop.parse().unwrap(), SeatBound::default().seat(number).unwrap())
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts the status, with the body in the message.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Asserts that it is a complete problem, and returns its code.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let value = self.json();
        assert_eq!(value["type"], "about:blank");
        assert_eq!(value["status"], self.status.as_u16());
        assert_eq!(value["title"], self.status.canonical_reason().unwrap());
        assert_eq!(value["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(value["error"]["code"], value["code"]);
        assert_eq!(value["error"]["message"], value["detail"]);
        assert!(!value["detail"].as_str().unwrap().is_empty() && value["instance"].is_string());
        assert!(value["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{value}");
        value["code"].as_str().unwrap().to_owned()
    }

    /// The fields that a 400 complains about.
    #[track_caller]
    pub(crate) fn wrong_fields(&self) -> Vec<String> {
        assert_eq!(
            (self.status.as_u16(), self.problem().as_str()),
            (400, "invalid_request"),
            "{}",
            self.text()
        );
        let errors = self.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}
