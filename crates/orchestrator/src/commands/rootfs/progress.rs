//! The progress of a conversion: a bar for a person who watches, a line per stage for everybody else.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rootfs::Stage;

use super::amount::shown;
use crate::ui::{Output, Ui};

/// Tells on standard error how far a conversion is. Cheap to share: it is told from the thread that works.
pub(super) struct Progress {
    ui: Ui,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(ui: Ui) -> Self {
        Self { ui, state: Mutex::default() }
    }

    /// Tells something beside the stages.
    pub(super) fn note(&self, text: &str) {
        if self.ui.interactive() || self.ui.output == Output::Table {
            self.ui.note(text);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.state.lock().ok().and_then(|mut state| state.bar.take()) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl rootfs::Progress for Progress {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let word = word(stage);
        if !self.ui.interactive() {
            if self.ui.output == Output::Table {
                let of = total.filter(|&total| total > 0).map(|total| format!(" ({})", shown(total)));
                self.ui.note(&format!("{word}{}", of.unwrap_or_default()));
            }
            return;
        }
        self.finish();
        let (template, bar) = match total {
            Some(total) => {
                let template = "{msg:<22} {bar:30} {binary_bytes}/{binary_total_bytes}  {elapsed}";
                (template, ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()))
            }
            None => {
                let template = "{msg:<22} {spinner} {binary_bytes}  {elapsed}";
                (template, ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
            }
        };
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(word);
        if let Ok(mut state) = self.state.lock() {
            state.bar = Some(bar);
        }
    }

    fn advance(&self, bytes: u64) {
        if self.ui.interactive()
            && let Ok(state) = self.state.lock()
            && let Some(bar) = &state.bar
        {
            bar.inc(bytes);
        }
    }
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Fetch => "fetching the image",
        Stage::Scan => "reading names",
        Stage::Layout => "laying out",
        Stage::Write => "writing content",
        Stage::Sync => "syncing and hashing",
    }
}
