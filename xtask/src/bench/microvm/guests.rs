//! What the seats of one monitor show, booted and from snapshots, beside bare commands of the same monitor.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::bare::{self, Boot, Saved};
use super::class::{Class, class};
use super::host::Host;
use super::monitor::Monitor;
use super::restored::{self, Restored, stage};
use super::seat::{Turn, WORKSHOP, ms, turn};
use crate::bench::service::Client;
use crate::console;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(super) struct Amount {
    /// How often each way boots, after one turn that does not count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// How many classes come up each way, at most as often as there are rounds.
    #[arg(long, default_value_t = 3)]
    pub(super) classes: u32,
    /// The seats of such a class.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..))]
    pub(super) class: u16,
}

impl Amount {
    /// As this program is told it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { rounds, classes, class } = self;
        vec![format!("--rounds={rounds}"), format!("--classes={classes}"), format!("--class={class}")]
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Guests {
    /// Of the bare command that boots.
    pub(super) bare: Vec<Boot>,
    pub(super) turns: Vec<Turn>,
    /// The seats of a class.
    pub(super) class: u16,
    /// Classes that boot.
    pub(super) booted: Vec<Class>,
    /// The same by bare commands.
    pub(super) bare_booted: Vec<bare::Class>,
    /// Milliseconds that the first seat waits for the snapshot that is made for its kind.
    pub(super) made: Option<f64>,
    /// Of the bare command that goes on from what was saved: milliseconds until its processors run, and from there until the agent answers.
    pub(super) bare_restores: Vec<(f64, f64)>,
    pub(super) restores: Vec<Restored>,
    /// Classes that go on from a snapshot.
    pub(super) restored: Vec<Class>,
    /// The same by bare commands.
    pub(super) bare_restored: Vec<bare::Class>,
}

/// Measures seats of a monitor for which the host is prepared.
pub(super) async fn measure(host: &Host, monitor: &Monitor, amount: Amount, image: &str) -> Result<Guests> {
    let mut measured = Guests { class: amount.class, ..Guests::default() };
    boots(host, monitor, amount, image, &mut measured).await?;
    restores(host, monitor, amount, image, &mut measured).await?;
    Ok(measured)
}

async fn boots(
    host: &Host,
    monitor: &Monitor,
    amount: Amount,
    image: &str,
    measured: &mut Guests,
) -> Result<()> {
    let service = host.serve(monitor, "off").await?;
    let client = Client::new(service.url(), service.id())?;
    client.create(WORKSHOP, 1, image).await?;
    for round in 0..=amount.rounds {
        console::dim(&format!("{}: boots, {round} of {}", monitor.setting(), amount.rounds));
        let (mut by_hand, mut seat) = (None, None);
        for way in 0..2 {
            // Another order each round.
            if (way + round) % 2 == 0 {
                by_hand = Some(bare::boot(host, monitor).await?);
            } else {
                seat = Some(turn(host, &client, image).await?);
            }
        }
        // The first round brings everything into the page cache.
        if round > 0 {
            measured.bare.extend(by_hand);
            measured.turns.extend(seat);
        }
    }
    measured.bare_booted = bare_classes(host, monitor, amount, None).await?;
    client.destroy(WORKSHOP).await?;
    measured.booted = classes(host, monitor, amount, &client, image).await?;
    service.stop().await
}

/// The same from snapshots.
async fn restores(
    host: &Host,
    monitor: &Monitor,
    amount: Amount,
    image: &str,
    measured: &mut Guests,
) -> Result<()> {
    let service = host.serve(monitor, "auto").await?;
    let client = Client::new(service.url(), service.id())?;
    let first = client.create(WORKSHOP, 1, image).await?;
    measured.made = Some(stage(&first, "snapshot"));
    let saved = Saved::make(host, monitor).await?;
    for round in 0..=amount.rounds {
        console::dim(&format!("{}: restores, {round} of {}", monitor.setting(), amount.rounds));
        let (mut by_hand, mut seat) = (None, None);
        for way in 0..2 {
            if (way + round) % 2 == 0 {
                let bare = saved.restore(host).await?;
                by_hand = Some((ms(bare.run), ms(bare.agent)));
            } else {
                seat = Some(restored::turn(&client, image).await?);
            }
        }
        if round > 0 {
            measured.bare_restores.extend(by_hand);
            measured.restores.extend(seat);
        }
    }
    measured.bare_restored = bare_classes(host, monitor, amount, Some(&saved)).await?;
    client.destroy(WORKSHOP).await?;
    measured.restored = classes(host, monitor, amount, &client, image).await?;
    service.stop().await
}

/// While the seat is there whose image they have.
async fn bare_classes(
    host: &Host,
    monitor: &Monitor,
    amount: Amount,
    saved: Option<&Saved>,
) -> Result<Vec<bare::Class>> {
    let mut classes = Vec::new();
    let most = amount.rounds.min(amount.classes);
    for number in 1..=most {
        console::dim(&format!(
            "{}: {} bare commands at once, {number} of {most}",
            monitor.setting(),
            amount.class
        ));
        classes.push(bare::class(host, monitor, saved, amount.class).await?);
    }
    Ok(classes)
}

async fn classes(
    host: &Host,
    monitor: &Monitor,
    amount: Amount,
    client: &Client,
    image: &str,
) -> Result<Vec<Class>> {
    let mut classes = Vec::new();
    let most = amount.rounds.min(amount.classes);
    for number in 1..=most {
        console::dim(&format!("{}: a class of {}, {number} of {most}", monitor.setting(), amount.class));
        classes.push(class(host, client, image, amount.class).await?);
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Told {
        #[command(flatten)]
        amount: Amount,
    }

    #[test]
    fn how_much_is_told_as_it_is_read() {
        let amount = Amount { rounds: 2, classes: 1, class: 4 };
        let told = [String::from("bench")].into_iter().chain(amount.arguments());
        assert_eq!(Told::try_parse_from(told).unwrap_or_else(|why| panic!("{why}")).amount, amount);
        let alone = Told::try_parse_from(["bench", "--class=1"]);
        assert!(alone.is_err(), "what a further seat has takes two");
    }
}
