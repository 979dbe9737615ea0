//! The progress of a class: a bar for a person who watches, lines for everybody else.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::came_up::{CameUp, Way};
use crate::client::types::{SeatReport, StageEvent};
use crate::ui::{Output, Ui};

/// Shows how far a class is, on standard error.
pub(super) struct Progress {
    ui: Ui,
    bar: Option<ProgressBar>,
    stages: BTreeMap<u64, String>,
}

impl Progress {
    /// For a class of this many seats; `None` when that is only known at the end.
    pub(super) fn new(seats: u64, ui: Ui) -> Self {
        let bar = ui.interactive().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seats  {elapsed}  {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(seats), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { ui, bar, stages: BTreeMap::new() }
    }

    /// A seat entered a stage.
    pub(super) fn stage(&mut self, event: StageEvent) {
        let text = event.note.map_or_else(|| event.stage.clone(), |note| format!("{} ({note})", event.stage));
        self.stages.insert(event.seat, text);
        self.redraw();
    }

    /// A seat is done.
    pub(super) fn seat(&mut self, report: &SeatReport) {
        self.stages.remove(&report.seat);
        let line = line(report);
        match &self.bar {
            Some(bar) => {
                // Those that came up as they should are in the table that follows.
                let fell_back = CameUp::of(report).is_some_and(|up| up.way == Way::Booted { instead: true });
                if report.failed() || fell_back {
                    bar.suspend(|| self.ui.note(&line));
                }
                self.redraw();
                if !matches!(report.outcome.as_str(), "surplus" | "destroyed") {
                    bar.inc(1);
                }
            }
            // A shell script gets a row for each seat at the end.
            None if self.ui.output == Output::Tsv => {}
            None => self.ui.note(&line),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn redraw(&self) {
        let Some(bar) = &self.bar else { return };
        // The same stage of many seats is one word with a count.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for stage in self.stages.values() {
            *counts.entry(stage).or_default() += 1;
        }
        let parts: Vec<_> = counts.iter().map(|(stage, count)| format!("{stage} ×{count}")).collect();
        bar.set_message(parts.join(", "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(report: &SeatReport) -> String {
    let endpoint = report.instance.as_ref().and_then(|seat| seat.endpoint.as_deref());
    let detail = report.reason.as_deref().or(endpoint).unwrap_or_default();
    let way = CameUp::of(report).and_then(|up| up.long()).unwrap_or_default();
    let words = [&*format!("seat {}: {}", report.seat, report.outcome), detail, &way];
    let words = words.into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(provider: &str, timings: &str) -> String {
        let seat = format!(r#"{{"seat": 3, "status": "running", "provider": "{provider}"}}"#);
        let report =
            format!(r#"{{"seat": 3, "outcome": "created", "instance": {seat}, "timings": {timings}}}"#);
        line(&serde_json::from_str(&report).unwrap())
    }

    #[test]
    fn seats_tell_how_they_came_up() {
        assert_eq!(said("docker", r#"{"create": 12.0, "start": 700.0}"#), "seat 3: created");
        let said = |timings| said("microvm", timings);
        assert_eq!(said(r#"{"create": 12.0, "start": 9000.0}"#), "seat 3: created (booted in 9.0 s)");
        assert_eq!(said(r#"{"restore": 812.5}"#), "seat 3: created (restored from a snapshot in 0.8 s)");
        assert!(said(r#"{"restore": 812.5, "snapshot": 4100}"#).contains("in 0.8 s, after 4.1 s for"));
        assert!(said(r#"{"restore": 1.5, "snapshot": 1, "start": 9000.0}"#).contains("(booted in 9.0 s; no"));
    }
}
