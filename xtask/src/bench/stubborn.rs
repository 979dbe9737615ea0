//! Destroying seats that ignore SIGTERM, as the scripts' own image did: `docker stop` waits 10 s for each.

use anyhow::Result;

use super::Options;
use super::rounds::tell;
use super::ways::{Ground, Turn, Way};
use crate::console;

/// How often the fast ways have their turn around the one of the scripts.
const ROUNDS: usize = 3;

/// Several turns of the fast ways, one of the scripts in between.
pub(super) async fn measure(ground: &Ground<'_>, options: &Options) -> Result<Vec<Turn>> {
    let seats = options.stubborn_seats;
    let mut turns = Vec::new();
    if seats == 0 {
        return Ok(turns);
    }
    console::title(&format!("a class of {seats} that ignores SIGTERM; the scripts need {} s", seats * 10));
    let width = options.widths.iter().copied().max().unwrap_or(1);
    for round in 0..ROUNDS {
        let mut ways = vec![Way::Service, Way::Floor { width, ready: true }];
        if round == ROUNDS / 2 {
            ways.insert(1, Way::Scripts);
        }
        for way in ways {
            let turn = ground.turn(way, seats, &options.stubborn).await?;
            tell(round + 1, &turn);
            turns.push(turn);
        }
    }
    Ok(turns)
}
