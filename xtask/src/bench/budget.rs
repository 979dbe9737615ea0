//! The budgets of the design, and whether this run met them.

use serde::Serialize;

use super::report::{ClassOf, Ratio};
use super::resident::Resident;
use super::spread::Spread;

/// The sizes for which the budgets are given.
const CLASS: u16 = 30;
const MANY: u16 = 100;

/// One budget and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) measured: f64,
    /// What `measured` is counted in: `×`, `MiB`, `ms`.
    pub(super) unit: &'static str,
    pub(super) budget: f64,
    /// Whether it shall be at most the budget, or at least.
    pub(super) at_most: bool,
    pub(super) met: bool,
}

impl Verdict {
    pub(super) fn new(
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        at_most: bool,
        budget: f64,
    ) -> Self {
        let met = if at_most { measured <= budget } else { measured >= budget };
        Self { what: what.into(), measured, unit, budget, at_most, met }
    }
}

/// Every budget about which this run says something. A figure of another size than the budget's is none.
pub(super) fn judge(
    classes: &[ClassOf],
    stubborn: Option<&ClassOf>,
    resident: Option<&Resident>,
    start_ms: Option<&Spread>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut times = |what: String, ratio: Option<Ratio>, at_most, budget| {
        verdicts.extend(ratio.map(|ratio| Verdict::new(what, ratio.of_medians, "×", at_most, budget)));
    };
    if let Some(class) = classes.iter().find(|class| class.seats == CLASS) {
        times(format!("create {CLASS}: service / floor"), class.create_service_to_floor, true, 1.05);
        times(format!("create {CLASS}: scripts / service"), class.create_scripts_to_service, false, 2.5);
    }
    if let Some(class) = stubborn {
        let what = format!("destroy {} that ignore SIGTERM: scripts / service", class.seats);
        times(what, class.destroy_scripts_to_service, false, 30.0);
    }
    if let Some(resident) = resident.filter(|resident| resident.seats == MANY) {
        if let Some(listing) = &resident.listing {
            verdicts.push(Verdict::new(
                format!("list {MANY}: service / one engine call"),
                listing.ratio,
                "×",
                true,
                1.2,
            ));
        }
        let highest = resident.rss_class_made.max(resident.rss_listed).max(resident.rss_idle);
        let highest = highest.max(resident.rss_after_samples);
        verdicts.push(Verdict::new(format!("resident at {MANY} seats"), highest, "MiB", true, 25.0));
        let what = format!("restart: {MANY} seats known again");
        verdicts.push(Verdict::new(what, resident.restart_ms, "ms", true, 1000.0));
    }
    verdicts.extend(start_ms.map(|start| Verdict::new("start to serving", start.median, "ms", true, 100.0)));
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_go_both_ways() {
        assert!(Verdict::new("a", 1.05, "×", true, 1.05).met);
        assert!(!Verdict::new("a", 1.06, "×", true, 1.05).met);
        assert!(Verdict::new("a", 2.5, "×", false, 2.5).met);
        assert!(!Verdict::new("a", 2.4, "×", false, 2.5).met);
    }

    #[test]
    fn nothing_measured_is_nothing_judged() {
        assert!(judge(&[], None, None, None).is_empty());
        let start = Spread::of([20.0]).unwrap();
        assert!(judge(&[], None, None, Some(&start))[0].met);
    }
}
