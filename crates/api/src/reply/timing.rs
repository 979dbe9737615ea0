//! How long each stage took.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderValue;
use seats::StageTiming;

/// Milliseconds, to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// The value of a `Server-Timing` header (W3C Server Timing): `queue;dur=0.1, create;dur=40.2`, in milliseconds
/// and in the order of the work. `None` when no stage was entered.
pub(crate) fn server_timing(timings: &[StageTiming]) -> Option<HeaderValue> {
    let stages: Vec<String> =
        timings.iter().map(|timing| format!("{};dur={}", timing.stage, millis(timing.took))).collect();
    if stages.is_empty() { None } else { HeaderValue::try_from(stages.join(", ")).ok() }
}

/// Milliseconds per stage; a stage that was entered twice counts its sum.
pub(super) fn by_stage(timings: &[StageTiming]) -> BTreeMap<&'static str, f64> {
    let mut stages: BTreeMap<&'static str, Duration> = BTreeMap::new();
    for timing in timings {
        *stages.entry(timing.stage.as_str()).or_default() += timing.took;
    }
    stages.into_iter().map(|(stage, took)| (stage, millis(took))).collect()
}

#[cfg(test)]
mod tests {
    use seats::Stage;

    use super::*;

    fn timing(stage: Stage, micros: u64) -> StageTiming {
        StageTiming { stage, took: Duration::from_micros(micros) }
    }

    #[test]
    fn stages_in_milliseconds() {
        let timings = [timing(Stage::Queue, 100), timing(Stage::Create, 40_200), timing(Stage::Queue, 1)];
        assert_eq!(server_timing(&timings).unwrap(), "queue;dur=0.1, create;dur=40.2, queue;dur=0.001");
        assert_eq!(server_timing(&[]), None);
        assert_eq!(by_stage(&timings), BTreeMap::from([("create", 40.2), ("queue", 0.101)]));
    }
}
