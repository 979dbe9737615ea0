//! One answer to "how is it now".

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lifecycle::{Lifecycle, Load};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use seats::{Instance, Measurement, MeasurementKind, ProviderKind, Scope, Status};

use super::Metrics;
use super::labels::{Seats, Source};
use super::process::Process;

/// The media type of the answer.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of a provider's own, each with a word of its own.
type Words = Vec<(&'static str, &'static str)>;

/// What is read at the moment of asking.
struct Now {
    provider: ProviderKind,
    seats: Option<Vec<Instance>>,
    load: Load,
    measured: Vec<Measurement>,
    process: Option<Process>,
}

impl Metrics {
    /// Everything as `OpenMetrics` text. Waits at most `within` for the list of seats.
    ///
    /// # Errors
    /// None in practice: the text is written to memory.
    pub(crate) async fn scrape(&self, lifecycle: &Lifecycle, within: Duration) -> Result<String, fmt::Error> {
        let listed = tokio::time::timeout(within, lifecycle.list(&Scope::All)).await;
        let now = Now {
            provider: lifecycle.provider(),
            seats: listed.ok().and_then(Result::ok),
            load: lifecycle.load(),
            measured: lifecycle.measurements(),
            process: Process::read(),
        };
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &now.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Now {
    fn registry(self) -> Registry {
        let mut registry = Registry::default();
        let up = Family::<Source, Gauge>::default();
        let source = Source { provider: self.provider.as_str() };
        up.get_or_create(&source).set(i64::from(self.seats.is_some()));
        registry.register("orchestrator_provider_up", "Whether the provider lists its seats", up);
        if let Some(seats) = self.seats {
            registry.register("orchestrator_seats", "Seats by status", by_status(&seats));
        }
        let Load { working, waiting } = self.load;
        registry.register("orchestrator_creates_working", "Creates that work now", gauge(working as u64));
        registry.register("orchestrator_creates_waiting", "Creates that wait in line", gauge(waiting as u64));
        register(&self.measured, &mut registry);
        if let Some(process) = self.process {
            process.register(&mut registry);
        }
        registry
    }
}

/// Every status has a value, or a rule on one that no seat has now would have nothing to compare.
fn by_status(seats: &[Instance]) -> Family<Seats, Gauge> {
    let family = Family::<Seats, Gauge>::default();
    for status in Status::ALL {
        family.get_or_create(&Seats { status: status.as_str() }).set(0);
    }
    for seat in seats {
        family.get_or_create(&Seats { status: seat.status.as_str() }).inc();
    }
    family
}

/// What a provider measures by itself; those of one name are one family.
fn register(measured: &[Measurement], registry: &mut Registry) {
    for (number, one) in measured.iter().enumerate() {
        if measured.iter().take(number).any(|other| other.name == one.name) {
            continue;
        }
        let all = measured.iter().filter(|other| other.name == one.name);
        let name = format!("orchestrator_{}", one.name);
        match (one.kind, one.labels) {
            (MeasurementKind::Counter, []) => registry.register(name, one.help, ConstCounter::new(one.value)),
            (MeasurementKind::Gauge, []) => registry.register(name, one.help, gauge(one.value)),
            (MeasurementKind::Counter, _) => {
                let family = Family::<Words, Counter>::default();
                for one in all {
                    family.get_or_create(&one.labels.to_vec()).inc_by(one.value);
                }
                registry.register(name, one.help, family);
            }
            (MeasurementKind::Gauge, _) => {
                let family = Family::<Words, Gauge<u64, AtomicU64>>::default();
                for one in all {
                    family.get_or_create(&one.labels.to_vec()).set(one.value);
                }
                registry.register(name, one.help, family);
            }
        }
    }
}

fn gauge(value: u64) -> Gauge<u64, AtomicU64> {
    let gauge = Gauge::<u64, AtomicU64>::default();
    gauge.set(value);
    gauge
}

impl Process {
    /// The names that every Prometheus client library uses for them.
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            ConstGauge::new(self.resident_bytes),
        );
        registry.register(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds",
            ConstCounter::new(self.cpu_seconds),
        );
        registry.register(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            ConstGauge::new(self.started),
        );
        registry.register(
            "process_open_fds",
            "Number of open file descriptors",
            ConstGauge::new(self.open_files),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_measures_is_told_under_its_names() {
        let one = |name, kind, labels, value| Measurement { name, help: "Words", kind, labels, value };
        let measured = [
            one("microvm_disk_bytes", MeasurementKind::Counter, &[("direction", "read")][..], 4096),
            one("microvm_guests_reporting", MeasurementKind::Gauge, &[], 2),
            one("microvm_guests", MeasurementKind::Counter, &[], 3),
            one("microvm_disk_bytes", MeasurementKind::Counter, &[("direction", "written")], u64::MAX),
        ];
        let mut registry = Registry::default();
        register(&measured, &mut registry);
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        for line in [
            "# TYPE orchestrator_microvm_disk_bytes counter",
            "orchestrator_microvm_disk_bytes_total{direction=\"read\"} 4096",
            "orchestrator_microvm_disk_bytes_total{direction=\"written\"} 18446744073709551615",
            "# TYPE orchestrator_microvm_guests_reporting gauge",
            "orchestrator_microvm_guests_reporting 2",
            "orchestrator_microvm_guests_total 3",
        ] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}: {text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP")).count(), 3, "{text}");
    }
}
