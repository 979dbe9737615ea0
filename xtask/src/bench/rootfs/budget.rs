//! The budgets of the converter, and whether this run met them.

use super::report::OfImage;
use super::way::Way;
use crate::bench::budget::Verdict;

/// From which size of tree on the budget of time is given: start-up costs hide the rest of small ones.
const LARGE_MIB: f64 = 400.0;
const FASTER: f64 = 3.0;
const PEAK_MIB: f64 = 150.0;

/// Every budget about which this run says something.
pub(super) fn judge(images: &[OfImage]) -> Vec<Verdict> {
    images.iter().flat_map(of_image).collect()
}

fn of_image(image: &OfImage) -> Vec<Verdict> {
    let name = &image.prepared.image;
    let mut verdicts = Vec::new();
    if image.prepared.tree_mib >= LARGE_MIB
        && let Some(ratio) = image.ratio(Way::Plan, Way::Engine)
    {
        let what = format!("{name}: plan / engine");
        verdicts.push(Verdict::new(what, ratio.of_medians, "×", false, FASTER));
    }
    for way in image.ways.iter().filter(|way| way.way.is_ours()) {
        let what = format!("{name}: peak memory, {}", way.way.name());
        verdicts.push(Verdict::new(what, way.peak_mib.max, "MiB", true, PEAK_MIB));
    }
    if image.ours > 0 {
        let what = format!("{name}: different SHA-256 of {} files", image.ours);
        verdicts.push(Verdict::new(what, image.sha256.len() as f64, "", true, 1.0));
        let what = format!("{name}: not clean for e2fsck -fn, of {} files", image.ours);
        verdicts.push(Verdict::new(what, image.unclean as f64, "", true, 0.0));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{of, turn};
    use super::*;

    #[test]
    fn a_small_image_says_nothing_about_speed() {
        let turns = [turn(1, Way::Plan, 40.0, ""), turn(1, Way::Engine, 10.0, "a")];
        assert_eq!(judge(&[of(500.0, &turns)]).len(), 4);
        assert_eq!(judge(&[of(2.0, &turns)]).len(), 3);
        assert!(judge(&[of(500.0, &turns)]).iter().all(|verdict| verdict.met));
        assert!(judge(&[]).is_empty());
    }

    #[test]
    fn what_differs_or_is_unclean_is_missed() {
        let turns = [turn(1, Way::Engine, 10.0, "a"), turn(1, Way::Archive, 10.0, "unclean")];
        let missed = judge(&[of(500.0, &turns)]).into_iter().filter(|verdict| !verdict.met);
        assert_eq!(missed.count(), 2);
    }
}
