//! The turns: every way at every size, in another order each round.

use anyhow::Result;

use super::Options;
use super::ways::{Ground, Turn, Way};
use crate::console;

/// A step through the order that has no factor in common with most counts of ways, so that no way always follows
/// the same other one.
const ROTATION: usize = 5;

/// All turns of all rounds.
pub(super) async fn run(ground: &Ground<'_>, options: &Options) -> Result<Vec<Turn>> {
    let mut turns = Vec::new();
    for seats in &options.seats {
        console::title(&format!("a class of {seats}, {} rounds", options.rounds));
        for round in 0..options.rounds {
            for way in order(&options.widths, *seats, round) {
                let turn = ground.turn(way, *seats, &options.image).await?;
                tell(round + 1, &turn);
                turns.push(turn);
            }
        }
    }
    Ok(turns)
}

pub(super) fn tell(round: usize, turn: &Turn) {
    let (create, destroy) = (turn.create.wall_ms, turn.destroy.wall_ms);
    console::dim(&format!(
        "{round:>3}  {:<24} up {create:>9.1} ms   down {destroy:>9.1} ms",
        turn.way.to_string()
    ));
}

/// The ways of a round.
fn order(widths: &[usize], seats: u16, round: usize) -> Vec<Way> {
    let mut ways = vec![Way::Scripts, Way::Service];
    for width in useful(widths, seats) {
        ways.extend([true, false].map(|ready| Way::Floor { width, ready }));
    }
    let step = round * ROTATION % ways.len();
    ways.rotate_left(step);
    ways
}

/// The widths that differ for a class of this size: of those that hold it whole, the smallest is enough.
fn useful(widths: &[usize], seats: u16) -> Vec<usize> {
    let seats = usize::from(seats);
    let whole = widths.iter().copied().filter(|width| *width >= seats).min();
    let mut useful: Vec<usize> = widths.iter().copied().filter(|width| (1..seats).contains(width)).collect();
    useful.extend(whole);
    useful.sort_unstable();
    useful.dedup();
    useful
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_beyond_the_class_are_one_and_the_same() {
        let widths = [1, 2, 4, 8, 16];
        assert_eq!(useful(&widths, 1), [1]);
        assert_eq!(useful(&widths, 10), [1, 2, 4, 8, 16]);
        assert_eq!(useful(&widths, 5), [1, 2, 4, 8]);
        assert_eq!(useful(&[4, 2], 30), [2, 4]);
    }

    #[test]
    fn every_way_has_its_turn_in_every_round() {
        let mut first = order(&[1, 2], 30, 0);
        let mut second = order(&[1, 2], 30, 1);
        assert_ne!(first, second);
        first.sort();
        second.sort();
        assert_eq!(first, second);
        assert_eq!(first.len(), 6);
    }
}
