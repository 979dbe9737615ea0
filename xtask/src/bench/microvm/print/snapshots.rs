//! Seats that go on from a snapshot, beside those that boot.

use super::super::bare;
use super::super::class::{Class, is_to_agent};
use super::super::guests::Guests;
use super::super::restored::Restored;
use super::super::seat::Turn;
use super::table;
use crate::bench::spread::Spread;

pub(super) fn print(prefix: &str, measured: &Guests) {
    let of = |what: fn(&Restored) -> f64| Spread::of(measured.restores.iter().map(what));
    let bare = |what: fn(&(f64, f64)) -> f64| Spread::of(measured.bare_restores.iter().map(what));
    let booted = |what: fn(&Turn) -> f64| Spread::of(measured.turns.iter().map(what));
    table(
        &format!("{prefix}from a snapshot, or booted"),
        [
            ("making the snapshot, ms", Spread::of(measured.made)),
            ("request to agent, ms", of(|turn| turn.agent)),
            ("  of it the restore, ms", of(|turn| turn.restore)),
            ("the same by a bare command, ms", bare(|bare| bare.0 + bare.1)),
            ("  of it to processors that run, ms", bare(|bare| bare.0)),
            ("request to workspace, ms", of(|turn| turn.workspace)),
            ("booted: request to agent, ms", booted(to_agent)),
            ("booted: request to workspace, ms", booted(to_workspace)),
        ],
    );
    let booted = |what: fn(&Class) -> f64| Spread::of(measured.booted.iter().map(what));
    let restored = |what: fn(&Class) -> f64| Spread::of(measured.restored.iter().map(what));
    let bare_booted = |what: fn(&bare::Class) -> f64| Spread::of(measured.bare_booted.iter().map(what));
    let bare_restored = |what: fn(&bare::Class) -> f64| Spread::of(measured.bare_restored.iter().map(what));
    table(
        &format!("{prefix}a class of {}", measured.class),
        [
            ("restored: to the last agent, ms", restored(|class| class.agent)),
            ("  the same by bare commands, ms", bare_restored(|class| class.agent)),
            ("restored: to the last workspace, ms", restored(|class| class.workspace)),
            ("restored: memory of a further guest, MiB", restored(|class| class.further.guest)),
            ("  the same by bare commands, MiB", bare_restored(|class| class.further.guest)),
            ("restored: memory beyond it, MiB", restored(|class| class.further.beyond)),
            ("  the same by bare commands, MiB", bare_restored(|class| class.further.beyond)),
            ("booted: to the last agent, ms", booted(|class| class.agent)),
            ("  the same by bare commands, ms", bare_booted(|class| class.agent)),
            ("booted: to the last workspace, ms", booted(|class| class.workspace)),
            ("booted: memory of a further guest, MiB", booted(|class| class.further.guest)),
            ("  the same by bare commands, MiB", bare_booted(|class| class.further.guest)),
            ("booted: memory beyond it, MiB", booted(|class| class.further.beyond)),
            ("  the same by bare commands, MiB", bare_booted(|class| class.further.beyond)),
        ],
    );
}

/// What a restore takes of what a boot does, and its budget.
pub(super) fn ratios(measured: &Guests) -> [(&'static str, Option<f64>, f64); 6] {
    let seat = |restored: fn(&Restored) -> f64, booted: fn(&Turn) -> f64| {
        ratio(measured.restores.iter().map(restored), measured.turns.iter().map(booted))
    };
    let class =
        |what: fn(&Class) -> f64| ratio(measured.restored.iter().map(what), measured.booted.iter().map(what));
    let service = measured.restores.iter().map(|turn| turn.restore);
    [
        ("restore / boot, to agent", seat(|turn| turn.agent, to_agent), 0.3),
        ("restore / boot, to workspace", seat(|turn| turn.workspace, to_workspace), 0.3),
        ("restore / boot of a class, to agents", class(|class| class.agent), 0.3),
        ("restore / boot of a class, to workspaces", class(|class| class.workspace), 0.3),
        (
            "restore: service / bare command",
            ratio(service, measured.bare_restores.iter().map(|bare| bare.0 + bare.1)),
            1.1,
        ),
        (
            "memory of a further seat, restored / booted",
            class(|class| class.further.guest + class.further.beyond),
            0.35,
        ),
    ]
}

fn to_agent(turn: &Turn) -> f64 {
    turn.stages.iter().filter(|(stage, _)| is_to_agent(stage)).map(|(_, took)| took).sum()
}

fn to_workspace(turn: &Turn) -> f64 {
    turn.started + turn.agent + turn.workspace
}

/// Of the middles.
fn ratio(one: impl Iterator<Item = f64>, other: impl Iterator<Item = f64>) -> Option<f64> {
    Some(Spread::of(one)?.median / Spread::of(other)?.median)
}
