//! What the turns come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::image::Prepared;
use super::rounds::Turn;
use super::way::Way;
use super::weigh::Cost;
use crate::bench::budget::Verdict;
use crate::bench::machine::Machine;
use crate::bench::spread::Spread;

/// Everything that was measured, as it is written to the file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) taken_at: String,
    pub(super) machine: Machine,
    /// The file system that was written to.
    pub(super) file_system: String,
    pub(super) rounds: u32,
    /// What a program that uses next to nothing is said to have at its peak: what this one had when it started it.
    pub(super) peak_floor_mib: f64,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) images: Vec<OfImage>,
    /// Each turn as it was, in order.
    pub(super) turns: Vec<Turn>,
}

/// The result for one image.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OfImage {
    #[serde(flatten)]
    pub(super) prepared: Prepared,
    pub(super) ways: Vec<OfWay>,
    pub(super) ratios: Vec<Ratio>,
    /// The digests of all files of ours.
    pub(super) sha256: BTreeSet<String>,
    /// How many those were.
    pub(super) ours: usize,
    /// How many of ours `e2fsck` found something in.
    pub(super) unclean: usize,
}

/// The result of one way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OfWay {
    pub(super) way: Way,
    pub(super) wall_ms: Spread,
    pub(super) cpu_ms: Spread,
    pub(super) engine_cpu_ms: Spread,
    pub(super) peak_mib: Spread,
    pub(super) written_mib: Option<Spread>,
    pub(super) disk_mib: Option<Spread>,
    pub(super) allocated_mib: Option<Spread>,
    pub(super) stages_ms: BTreeMap<String, Spread>,
}

/// How many times as long one way takes as another.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) above: Way,
    pub(super) below: Way,
    pub(super) of_medians: f64,
    pub(super) by_round: Spread,
}

/// What is compared with what.
const RATIOS: [(Way, Way); 10] = [
    (Way::Plan, Way::Engine),
    (Way::Plan, Way::Archive),
    (Way::Plan, Way::Layout),
    (Way::UnpackMke2fs, Way::Engine),
    (Way::Mke2fs, Way::Archive),
    (Way::Engine, Way::Copy),
    (Way::Archive, Way::Copy),
    (Way::Engine, Way::Save),
    // What anything can win that has its bytes from the engine.
    (Way::Plan, Way::Save),
    (Way::Plan, Way::Export),
];

impl OfImage {
    /// From the turns of all images.
    pub(super) fn of(prepared: Prepared, turns: &[Turn]) -> Self {
        let turns: Vec<&Turn> = turns.iter().filter(|turn| turn.image == prepared.image).collect();
        let ways: BTreeSet<Way> = turns.iter().map(|turn| turn.way).collect();
        let ours = || turns.iter().filter(|turn| turn.way.is_ours()).filter_map(|turn| turn.made.as_ref());
        Self {
            ways: ways.into_iter().filter_map(|way| OfWay::of(way, &turns)).collect(),
            ratios: RATIOS.into_iter().filter_map(|(above, below)| ratio(above, below, &turns)).collect(),
            sha256: ours().filter_map(|made| made.sha256.clone()).collect(),
            ours: ours().count(),
            unclean: ours().filter(|made| !made.clean).count(),
            prepared,
        }
    }

    pub(super) fn ratio(&self, above: Way, below: Way) -> Option<&Ratio> {
        self.ratios.iter().find(|ratio| (ratio.above, ratio.below) == (above, below))
    }
}

impl OfWay {
    fn of(way: Way, turns: &[&Turn]) -> Option<Self> {
        let own: Vec<&Turn> = turns.iter().copied().filter(|turn| turn.way == way).collect();
        let spread = |part: fn(&Cost) -> f64| Spread::of(own.iter().map(|turn| part(&turn.cost)));
        let some =
            |part: fn(&Cost) -> Option<f64>| Spread::of(own.iter().filter_map(|turn| part(&turn.cost)));
        let made = || own.iter().filter_map(|turn| turn.made.as_ref());
        let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (stage, took) in made().flat_map(|made| &made.stages_ms) {
            stages.entry(stage.clone()).or_default().push(*took);
        }
        let stages = stages.into_iter().filter_map(|(stage, took)| Some((stage, Spread::of(took)?)));
        Some(Self {
            way,
            wall_ms: spread(|cost| cost.wall_ms)?,
            cpu_ms: spread(|cost| cost.cpu_ms)?,
            engine_cpu_ms: spread(|cost| cost.engine_cpu_ms)?,
            peak_mib: spread(|cost| cost.peak_mib)?,
            written_mib: some(|cost| cost.written_mib),
            disk_mib: some(|cost| cost.disk_mib),
            allocated_mib: Spread::of(made().map(|made| made.allocated_mib)),
            stages_ms: stages.collect(),
        })
    }
}

/// Both ways have a turn in every round, so the rounds can be compared one by one as well.
fn ratio(above: Way, below: Way, turns: &[&Turn]) -> Option<Ratio> {
    let of = |way| {
        let own = turns.iter().filter(move |turn| turn.way == way);
        own.map(|turn| (turn.round, turn.cost.wall_ms)).collect::<BTreeMap<_, _>>()
    };
    let (numerators, denominators) = (of(above), of(below));
    let by_round = numerators.iter().filter_map(|(round, took)| Some(took / denominators.get(round)?));
    let by_round = Spread::of(by_round)?;
    let median = |took: &BTreeMap<u32, f64>| Some(Spread::of(took.values().copied())?.median);
    Some(Ratio { above, below, of_medians: median(&numerators)? / median(&denominators)?, by_round })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::made::Made;
    use super::*;

    pub(in super::super) fn turn(round: u32, way: Way, wall_ms: f64, sha256: &str) -> Turn {
        let cost = Cost {
            wall_ms,
            cpu_ms: 1.0,
            engine_cpu_ms: 2.0,
            peak_mib: 100.0,
            written_mib: None,
            disk_mib: Some(3.0),
        };
        let made = Made {
            size_mib: 5.0,
            allocated_mib: 4.0,
            sha256: way.is_ours().then(|| sha256.to_owned()),
            clean: sha256 != "unclean",
            stages_ms: BTreeMap::from([("scan".to_owned(), 7.0)]),
        };
        Turn { image: "i".into(), round, way, cost, made: way.makes_a_file().then_some(made) }
    }

    pub(in super::super) fn of(tree_mib: f64, turns: &[Turn]) -> OfImage {
        let prepared = Prepared { image: "i".into(), tree_mib, files: 1, archive_mib: 1.0, size: 1 };
        OfImage::of(prepared, turns)
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        let turns = [
            turn(1, Way::Plan, 30.0, ""),
            turn(1, Way::Engine, 10.0, "a"),
            turn(2, Way::Engine, 20.0, "a"),
            turn(2, Way::Plan, 80.0, ""),
        ];
        let result = of(500.0, &turns);
        let ratio = result.ratio(Way::Plan, Way::Engine).unwrap();
        assert!((ratio.of_medians - 55.0 / 15.0).abs() < 1e-9);
        assert_eq!((ratio.by_round.min, ratio.by_round.max), (3.0, 4.0));
        assert!(result.ratio(Way::Engine, Way::Copy).is_none());
        assert_eq!((result.ours, result.sha256.len(), result.unclean), (2, 1, 0));
        assert_eq!(result.ways.len(), 2);
        assert!(result.ways[0].written_mib.is_none());
    }
}
