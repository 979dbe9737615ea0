//! What the service counts, as `OpenMetrics` text.
//!
//! Counters and histograms collect in one registry as things happen. What is a state rather than an event (seats
//! by status, the length of the line, the process itself) is read when somebody asks, into a registry that lives
//! for that one answer: a gauge that cannot be read is left out instead of showing its last value.

mod labels;
mod process;
mod scrape;

use std::time::Duration;

use lifecycle::{Operation, OperationOutcome, Telemetry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use seats::{ProviderKind, StageTiming};

use labels::{Answer, Build, Done, Request, Staged};
pub(crate) use scrape::CONTENT_TYPE;

/// The commit that the build was told, if any.
pub(crate) const COMMIT: Option<&str> = option_env!("BUILD_GIT_COMMIT");

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every metric of the service. Give it to the lifecycle as its [`Telemetry`] and to [`crate::router`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Family<Done, Counter>,
    durations: Histograms<Done>,
    stages: Histograms<Staged>,
    requests: Family<Answer, Counter>,
    latencies: Histograms<Request>,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("orchestrator");
        let operations = Family::<Done, Counter>::default();
        let durations = Histograms::<Done>::new_with_constructor(work);
        let stages = Histograms::<Staged>::new_with_constructor(work);
        let requests = Family::<Answer, Counter>::default();
        let latencies = Histograms::<Request>::new_with_constructor(work);
        registry.register("operations", "Operations on seats that ended", operations.clone());
        registry.register_with_unit(
            "operation_duration",
            "How long operations on seats took",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register_with_unit(
            "create_stage_duration",
            "How long each stage of making a seat took",
            Unit::Seconds,
            stages.clone(),
        );
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long requests took until their answer began",
            Unit::Seconds,
            latencies.clone(),
        );
        let commit = COMMIT.unwrap_or("unknown");
        let build = Build { version: env!("CARGO_PKG_VERSION"), commit };
        registry.register("build", "Which build this is", Info::new(build));
        Self { registry, operations, durations, stages, requests, latencies }
    }

    /// Counts an answered request. `route` is the route's pattern, never the path.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let request = Request { method, route: route.to_owned() };
        self.latencies.get_or_create(&request).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answer { method, route: request.route, status }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry for Metrics {
    fn operation(
        &self,
        operation: Operation,
        provider: ProviderKind,
        outcome: OperationOutcome,
        took: Duration,
    ) {
        let done = Done { operation: operation.as_str(), provider: provider.as_str(), outcome };
        self.operations.get_or_create(&done).inc();
        self.durations.get_or_create(&done).observe(took.as_secs_f64());
    }

    fn stages(&self, provider: ProviderKind, timings: &[StageTiming]) {
        for timing in timings {
            let staged = Staged { provider: provider.as_str(), stage: timing.stage.as_str() };
            self.stages.get_or_create(&staged).observe(timing.took.as_secs_f64());
        }
    }
}

/// From a fast list (1 ms) to a slow pull (10 minutes).
fn work() -> Histogram {
    const BOUNDS: [f64; 16] =
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
    Histogram::new(BOUNDS)
}
