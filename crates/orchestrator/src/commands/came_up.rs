//! How a seat came up, and how long that took, from the stages that the service timed.

use crate::client::types::SeatReport;

/// The stages in their order (`seats::Stage`). What a newer service has beside them comes last.
const ORDER: [&str; 12] = [
    "queue", "check", "image", "network", "volume", "create", "snapshot", "restore", "start", "inspect",
    "ready", "undo",
];
/// What is shorter is not shown to people, in milliseconds: it would be 0.0 seconds.
const LEAST_MS: f64 = 50.0;

/// Which way a seat came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A microVM went on from a snapshot.
    Restored,
    /// A microVM booted.
    Booted {
        /// Because no snapshot could be used.
        instead: bool,
    },
    /// It was started, in the only way there is for its kind.
    Started,
}

/// How a seat came up.
#[derive(Clone, Copy, Debug)]
pub(super) struct CameUp {
    /// Which way.
    pub(super) way: Way,
    /// How long that took, in seconds.
    seconds: f64,
    /// How long it made or waited for what it went on from, in seconds.
    snapshot: Option<f64>,
}

impl Way {
    /// In one word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Booted { .. } => "booted",
            Self::Started => "started",
        }
    }
}

impl CameUp {
    /// Of a seat that came up in this operation; nothing of one that ran before, or does not now.
    pub(super) fn of(report: &SeatReport) -> Option<Self> {
        let seconds = |stage: &str| report.timings.get(stage).map(|millis| millis / 1000.0);
        let is_microvm =
            report.instance.as_ref().is_some_and(|seat| seat.provider.as_deref() == Some("microvm"));
        let (way, took) = match (seconds("start"), seconds("restore")) {
            _ if report.failed() => return None,
            (None, Some(restore)) => (Way::Restored, restore),
            (Some(start), Some(_)) => (Way::Booted { instead: true }, start),
            (Some(start), None) if is_microvm => (Way::Booted { instead: false }, start),
            (Some(start), None) => (Way::Started, start),
            (None, None) => return None,
        };
        Some(Self { way, seconds: took, snapshot: seconds("snapshot") })
    }

    /// For a cell of a table.
    pub(super) fn short(&self) -> String {
        format!("{} {:.1} s", self.way.word(), self.seconds)
    }

    /// For a line; nothing where it could be no other way.
    pub(super) fn long(&self) -> Option<String> {
        let seconds = self.seconds;
        Some(match (self.way, self.snapshot) {
            (Way::Restored, None) => format!("(restored from a snapshot in {seconds:.1} s)"),
            (Way::Restored, Some(snapshot)) => {
                format!(
                    "(restored from a snapshot in {seconds:.1} s, after {snapshot:.1} s for the snapshot)"
                )
            }
            (Way::Booted { instead: false }, _) => format!("(booted in {seconds:.1} s)"),
            (Way::Booted { instead: true }, _) => {
                format!("(booted in {seconds:.1} s; no snapshot could be used, the service's log says why)")
            }
            (Way::Started, _) => return None,
        })
    }
}

/// The stages that took a while, for a person: `queue 0.4, restore 0.8, ready 1.2 s`.
pub(super) fn stages(report: &SeatReport) -> String {
    let long = ordered(report).filter(|(_, millis)| *millis >= LEAST_MS);
    let parts: Vec<_> = long.map(|(stage, millis)| format!("{stage} {:.1}", millis / 1000.0)).collect();
    if parts.is_empty() { String::new() } else { format!("{} s", parts.join(", ")) }
}

/// All stages in whole milliseconds, for a program: `queue=412,restore=812,ready=1204`.
pub(super) fn millis(report: &SeatReport) -> String {
    let parts: Vec<_> = ordered(report).map(|(stage, millis)| format!("{stage}={millis:.0}")).collect();
    parts.join(",")
}

fn ordered(report: &SeatReport) -> impl Iterator<Item = (&str, f64)> {
    let timings = &report.timings;
    let known = ORDER.iter().filter_map(|stage| timings.get_key_value(*stage));
    let others = timings.iter().filter(|(stage, _)| !ORDER.contains(&stage.as_str()));
    known.chain(others).map(|(stage, millis)| (stage.as_str(), *millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: &str, provider: &str, timings: &str) -> SeatReport {
        let seat = format!(r#"{{"seat": 3, "status": "running", "provider": "{provider}"}}"#);
        let text =
            format!(r#"{{"seat": 3, "outcome": "{outcome}", "instance": {seat}, "timings": {timings}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_cell_says_which_way_and_how_long() {
        let cell = |provider, timings| CameUp::of(&report("created", provider, timings)).map(|up| up.short());
        assert_eq!(cell("microvm", r#"{"create": 12.0, "start": 9000.0}"#).as_deref(), Some("booted 9.0 s"));
        assert_eq!(cell("microvm", r#"{"restore": 812.5}"#).as_deref(), Some("restored 0.8 s"));
        assert_eq!(cell("microvm", r#"{"restore": 1, "start": 9100}"#).as_deref(), Some("booted 9.1 s"));
        assert_eq!(cell("docker", r#"{"create": 12.0, "start": 700.0}"#).as_deref(), Some("started 0.7 s"));
        assert_eq!(cell("microvm", r#"{"check": 1, "inspect": 2}"#), None);
    }

    #[test]
    fn what_did_not_come_up_came_up_no_way() {
        for outcome in ["failed", "conflict", "pending"] {
            assert!(CameUp::of(&report(outcome, "microvm", r#"{"restore": 9.0, "start": 1.0}"#)).is_none());
        }
        // Its VM had ended.
        assert!(CameUp::of(&report("unchanged", "microvm", r#"{"restore": 9.0}"#)).is_some());
    }

    #[test]
    fn stages_are_in_their_order_and_short_ones_for_programs_only() {
        let timings = r#"{"ready": 1204, "restore": 812.4, "later": 60, "check": 3.7, "queue": 412}"#;
        let report = report("created", "microvm", timings);
        assert_eq!(stages(&report), "queue 0.4, restore 0.8, ready 1.2, later 0.1 s");
        assert_eq!(millis(&report), "queue=412,check=4,restore=812,ready=1204,later=60");
        assert_eq!(stages(&SeatReport { timings: [].into(), ..report }), "");
    }
}
