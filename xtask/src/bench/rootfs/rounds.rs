//! The turns of one image.

use std::fs;
use std::path::Path;

use anyhow::Result;
use bollard::Docker;
use serde::Serialize;
use tokio::process::Command;

use super::disk::Disk;
use super::image::Prepared;
use super::made::Made;
use super::sweep;
use super::way::Way;
use super::weigh::{Cost, weigh};
use crate::child::output;
use crate::console;
use crate::stop::{Interrupted, Stop};

/// What all turns have in common.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) docker: &'a Docker,
    /// The processes of the engine.
    pub(super) engine: &'a [i32],
    pub(super) disk: &'a Disk,
    /// The converter.
    pub(super) binary: &'a Path,
    /// Everything is in here.
    pub(super) folder: &'a Path,
    pub(super) stop: &'a Stop,
}

/// One turn of one way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    pub(super) image: String,
    /// From 1.
    pub(super) round: u32,
    pub(super) way: Way,
    #[serde(flatten)]
    pub(super) cost: Cost,
    pub(super) made: Option<Made>,
}

/// All turns of an image. Round 0 is not among them.
pub(super) async fn run(
    ground: &Ground<'_>,
    prepared: &Prepared,
    ways: &[Way],
    rounds: u32,
) -> Result<Vec<Turn>> {
    let mut turns = Vec::new();
    for round in 0..=rounds {
        for way in order(ways, round) {
            let turn = ground.turn(way, prepared, round).await;
            let turn = turn.map_err(|why| match why.is::<Interrupted>() {
                true => why,
                false => why.context(format!("{way}, round {round}")),
            })?;
            let uncounted = if round == 0 { "   not counted" } else { "" };
            console::dim(&format!(
                "{round:>3}  {:<40} {:>9.1} ms{uncounted}",
                way.to_string(),
                turn.cost.wall_ms
            ));
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    Ok(turns)
}

/// The ways of a round: each round begins with another one, and every second one goes backwards, so that no way
/// always follows the same other.
fn order(ways: &[Way], round: u32) -> Vec<Way> {
    let mut order = ways.to_vec();
    if !order.is_empty() {
        let step = usize::try_from(round).unwrap_or_default() % order.len();
        order.rotate_left(step);
    }
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Ground<'_> {
    async fn turn(&self, way: Way, prepared: &Prepared, round: u32) -> Result<Turn> {
        let folder = self.folder.join("turn");
        fs::create_dir(&folder)?;
        // What others have written is not to be waited for in this turn.
        self.settle().await?;
        let command = way.command(prepared, self.binary, &folder);
        let (cost, printed) = weigh(command, self.engine, self.disk, self.folder, self.stop).await?;
        let made = Made::look(way, &folder, &printed, self.stop).await?;
        sweep::remove(&folder)?;
        Ok(Turn { image: prepared.image.clone(), round, way, cost, made })
    }

    /// Waits until the file system has written what it has to.
    async fn settle(&self) -> Result<()> {
        let mut sync = Command::new("sync");
        self.stop.or(output(sync.arg("--file-system").arg(self.folder))).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_its_turn_in_every_round() {
        let ways = [Way::Plan, Way::Engine, Way::Copy];
        assert_eq!(order(&ways, 0), ways);
        assert_eq!(order(&ways, 1), [Way::Plan, Way::Copy, Way::Engine]);
        assert_eq!(order(&ways, 2), [Way::Copy, Way::Plan, Way::Engine]);
        assert!(order(&[], 3).is_empty());
    }
}
