//! The progress of a class: a bar for a person who watches, lines for everybody else.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
                if report.failed() {
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
    format!("seat {}: {} {detail}", report.seat, report.outcome).trim_end().to_owned()
}
