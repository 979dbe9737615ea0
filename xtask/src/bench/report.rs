//! What the turns come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::budget::Verdict;
use super::machine::Machine;
use super::resident::Resident;
use super::spread::Spread;
use super::ways::{Cost, Turn, Way};

/// Everything that was measured, as it is written to the file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) taken_at: String,
    pub(super) machine: Machine,
    pub(super) image: String,
    /// Settings that were tried out.
    pub(super) service_flags: Vec<String>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) classes: Vec<ClassOf>,
    /// The class whose image ignores SIGTERM.
    pub(super) stubborn: Option<ClassOf>,
    pub(super) resident: Option<Resident>,
    pub(super) start_ms: Option<Spread>,
    /// Networks of this run that the engine would not let go.
    pub(super) stuck_networks: Vec<String>,
    /// Each turn as it was, in order.
    pub(super) turns: Vec<Turn>,
    pub(super) stubborn_turns: Vec<Turn>,
}

/// The result for one size of class.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ClassOf {
    pub(super) seats: u16,
    pub(super) ways: Vec<WayResult>,
    /// Service to floor, where both wait until the seats answer.
    pub(super) create_service_to_floor: Option<Ratio>,
    /// Service, which waits, to a floor that does not.
    pub(super) create_service_to_floor_unready: Option<Ratio>,
    pub(super) create_scripts_to_service: Option<Ratio>,
    /// What the scripts can be beaten by at most.
    pub(super) create_scripts_to_floor: Option<Ratio>,
    pub(super) destroy_service_to_floor: Option<Ratio>,
    pub(super) destroy_scripts_to_service: Option<Ratio>,
    /// Milliseconds of a seat per stage of the service.
    pub(super) stages_ms: BTreeMap<String, Spread>,
}

/// The result of one way at one size.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WayResult {
    #[serde(flatten)]
    pub(super) way: Way,
    pub(super) create_ms: Spread,
    pub(super) destroy_ms: Spread,
    pub(super) create_cpu: CpuPerSeat,
    pub(super) destroy_cpu: CpuPerSeat,
}

/// Processor time per seat, the mean of all turns, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CpuPerSeat {
    pub(super) service_ms: f64,
    pub(super) engine_ms: f64,
}

/// How many times as long.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ratio {
    /// Of the medians.
    pub(super) of_medians: f64,
    /// Of each round by itself.
    pub(super) by_round: Spread,
    /// The width of the floor in it.
    pub(super) width: Option<usize>,
}

impl ClassOf {
    /// One result per size, in the order of the sizes.
    pub(super) fn all(turns: &[Turn]) -> Vec<Self> {
        let sizes: BTreeSet<u16> = turns.iter().map(|turn| turn.seats).collect();
        sizes.into_iter().map(|seats| Self::of(seats, turns)).collect()
    }

    fn of(seats: u16, turns: &[Turn]) -> Self {
        let turns: Vec<&Turn> = turns.iter().filter(|turn| turn.seats == seats).collect();
        let kinds: BTreeSet<Way> = turns.iter().map(|turn| turn.way).collect();
        let ways = kinds.into_iter().filter_map(|way| WayResult::of(way, seats, &turns)).collect();
        let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (stage, took) in turns.iter().flat_map(|turn| &turn.stages_ms) {
            stages.entry(stage.clone()).or_default().extend(took);
        }
        let create = |turn: &Turn| turn.create.wall_ms;
        let destroy = |turn: &Turn| turn.destroy.wall_ms;
        let ready = |wanted| move |way: Way| matches!(way, Way::Floor { ready, .. } if ready == wanted);
        let service = |way| way == Way::Service;
        let scripts = |way| way == Way::Scripts;
        Self {
            seats,
            ways,
            create_service_to_floor: ratio(&turns, create, service, ready(true)),
            create_service_to_floor_unready: ratio(&turns, create, service, ready(false)),
            create_scripts_to_service: ratio(&turns, create, scripts, service),
            create_scripts_to_floor: ratio(&turns, create, scripts, ready(true)),
            destroy_service_to_floor: ratio(&turns, destroy, service, ready(true)),
            destroy_scripts_to_service: ratio(&turns, destroy, scripts, service),
            stages_ms: stages
                .into_iter()
                .filter_map(|(stage, took)| Some((stage, Spread::of(took)?)))
                .collect(),
        }
    }
}

impl WayResult {
    fn of(way: Way, seats: u16, turns: &[&Turn]) -> Option<Self> {
        let own: Vec<&&Turn> = turns.iter().filter(|turn| turn.way == way).collect();
        let per_seat = |cost: fn(&Turn) -> Cost| {
            let count = own.len() as f64 * f64::from(seats);
            let sum = |part: fn(Cost) -> f64| own.iter().map(|turn| part(cost(turn))).sum::<f64>() / count;
            CpuPerSeat {
                service_ms: sum(|cost| cost.service_cpu_ms),
                engine_ms: sum(|cost| cost.engine_cpu_ms),
            }
        };
        Some(Self {
            way,
            create_ms: Spread::of(own.iter().map(|turn| turn.create.wall_ms))?,
            destroy_ms: Spread::of(own.iter().map(|turn| turn.destroy.wall_ms))?,
            create_cpu: per_seat(|turn| turn.create),
            destroy_cpu: per_seat(|turn| turn.destroy),
        })
    }
}

/// The best of some ways against the best of others: of several widths, the one with the lowest median.
fn ratio(
    turns: &[&Turn],
    took: impl Fn(&Turn) -> f64,
    above: impl Fn(Way) -> bool,
    below: impl Fn(Way) -> bool,
) -> Option<Ratio> {
    let best = |wanted: &dyn Fn(Way) -> bool| {
        let kinds: BTreeSet<Way> = turns.iter().map(|turn| turn.way).filter(|way| wanted(*way)).collect();
        let of =
            |way| turns.iter().filter(move |turn| turn.way == way).map(|turn| took(turn)).collect::<Vec<_>>();
        let all = kinds.into_iter().filter_map(|way| Some((Spread::of(of(way))?.median, way, of(way))));
        all.min_by(|one, two| one.0.total_cmp(&two.0))
    };
    let ((above, way, numerators), (below, other, denominators)) = (best(&above)?, best(&below)?);
    let by_round = numerators.iter().zip(&denominators).map(|(above, below)| above / below);
    let width = [way, other].into_iter().find_map(|way| match way {
        Way::Floor { width, .. } => Some(width),
        _ => None,
    });
    Some(Ratio { of_medians: above / below, by_round: Spread::of(by_round)?, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(way: Way, create: f64) -> Turn {
        let cost = Cost { wall_ms: create, service_cpu_ms: 3.0, engine_cpu_ms: 0.0 };
        Turn {
            way,
            seats: 3,
            image: "i".into(),
            create: cost,
            destroy: cost,
            stages_ms: BTreeMap::new(),
            stuck_network: false,
        }
    }

    #[test]
    fn the_best_width_counts() {
        let floor = |width| Way::Floor { width, ready: true };
        let turns = [
            turn(floor(1), 50.0),
            turn(floor(2), 10.0),
            turn(Way::Service, 11.0),
            turn(floor(1), 50.0),
            turn(floor(2), 12.0),
            turn(Way::Service, 12.0),
        ];
        let classes = ClassOf::all(&turns);
        assert_eq!(classes.len(), 1);
        let ratio = classes[0].create_service_to_floor.unwrap();
        assert_eq!(ratio.width, Some(2));
        assert!((ratio.of_medians - 11.5 / 11.0).abs() < 1e-9);
        assert!((ratio.by_round.max - 1.1).abs() < 1e-9);
        assert!(classes[0].create_scripts_to_service.is_none());
        assert!((classes[0].ways[0].create_cpu.service_ms - 1.0).abs() < 1e-9);
    }
}
