//! What was measured, as tables.

mod snapshots;

use super::guests::Guests;
use super::inside::Report;
use super::nested::Place;
use super::seat::Turn;
use crate::bench::budget::Verdict;
use crate::bench::spread::Spread;
use crate::bench::table::Table;
use crate::console;

pub(super) fn print(report: &Report) {
    console::title("microVM seats");
    if let Some(measured) = &report.qemu {
        guests("", "QEMU alone to its answer, ms", measured);
    }
    if let Some(firecracker) = &report.firecracker {
        let spread = |of: &[f64]| Spread::of(of.iter().copied());
        let rows = [
            ("request to monitor, jailed, ms", spread(&firecracker.jailed)),
            ("request to monitor, not jailed, ms", spread(&firecracker.plain)),
            ("Firecracker alone to its guest, ms", spread(&firecracker.alone)),
        ];
        table("one seat of Firecracker", rows);
    }
    if let Some((place, measured)) = &report.firecracker_guests {
        console::line(&format!("Firecracker's guests ran {}.", where_it_was(*place)));
        guests(&of_firecracker(*place), "Firecracker alone to its guest, ms", measured);
    }
    if let Some(adopted) = &report.adopted {
        let answered = figure(adopted.answered);
        console::dim(&format!(
            "{} seats: all had answered the next service {answered} ms after its start",
            adopted.seats
        ));
    }
    let mut budgets = Table::new(["budget", "measured", "allowed", ""]);
    for verdict in verdicts(report) {
        let measured = format!("{} {}", figure(verdict.measured), verdict.unit);
        let allowed = format!("{} {}", figure(verdict.budget), verdict.unit);
        budgets.row([verdict.what, measured, allowed, if verdict.met { "met" } else { "missed" }.into()]);
    }
    budgets.print();
}

fn where_it_was(place: Place) -> String {
    match place {
        Place::Direct => "on this host's KVM".into(),
        Place::Nested { outer_memory_mib } => format!(
            "nested: in a guest of two processors and {outer_memory_mib} MiB that QEMU translates, whose KVM is emulated (SVM). \
             Only ratios of these figures mean something"
        ),
    }
}

/// What tables and budgets of Firecracker's guests have before their names.
fn of_firecracker(place: Place) -> String {
    match place {
        Place::Direct => "Firecracker: ".into(),
        Place::Nested { .. } => "Firecracker, nested: ".into(),
    }
}

fn guests(prefix: &str, alone: &str, measured: &Guests) {
    let of = |what: fn(&Turn) -> f64| Spread::of(measured.turns.iter().map(what));
    let rows = [
        ("request to monitor, ms", of(|turn| turn.started)),
        ("  of it the record, ms", of(|turn| stage(turn, "check"))),
        ("  of it the network, ms", of(|turn| stage(turn, "network"))),
        ("  of it the disks, ms", of(|turn| stage(turn, "volume"))),
        ("  of it the monitor, ms", of(|turn| stage(turn, "create"))),
        (alone, Spread::of(measured.bare.iter().map(|bare| bare.0))),
        ("monitor to agent, ms", of(|turn| turn.agent)),
        ("the same by a bare command, ms", Spread::of(measured.bare.iter().map(|bare| bare.1))),
        ("agent to workspace, ms", of(|turn| turn.workspace)),
        ("disks of a new seat, KiB", of(|turn| turn.disk_bytes as f64 / 1024.0)),
        ("memory of the guest, MiB", of(|turn| turn.memory.guest)),
        ("memory beyond it, MiB", of(|turn| turn.memory.beyond)),
    ];
    table(&format!("{prefix}one seat"), rows);
    snapshots::print(prefix, measured);
}

/// Prints what was measured.
fn table<const N: usize>(of: &str, rows: [(&str, Option<Spread>); N]) {
    let mut table = Table::new([of, "median", "least", "most"]);
    for (what, spread) in rows {
        let Some(Spread { median, min, max, .. }) = spread else { continue };
        table.row([what.into(), figure(median), figure(min), figure(max)]);
    }
    table.print();
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(measured) = &report.qemu {
        verdicts.extend(of_the_host(measured));
        verdicts.extend(ratios("", measured));
    }
    let mut most = |what: String, measured: Option<f64>, budget| {
        verdicts.extend(measured.map(|measured| Verdict::new(what, measured, "ms", true, budget)));
    };
    if let Some(adopted) = &report.adopted {
        most(format!("restart: {} seats known again", adopted.seats), Some(adopted.known), 1000.0);
    }
    if let Some(firecracker) = &report.firecracker {
        for (how, of) in [("jailed", &firecracker.jailed), ("not jailed", &firecracker.plain)] {
            most(format!("request to Firecracker, {how}"), median(of.iter().copied()), 50.0);
        }
    }
    if let Some((place, measured)) = &report.firecracker_guests {
        verdicts.extend(ratios(&of_firecracker(*place), measured));
    }
    verdicts
}

/// What is counted in units of this host.
fn of_the_host(measured: &Guests) -> Vec<Verdict> {
    let of = |what: fn(&Turn) -> f64| median(measured.turns.iter().map(what));
    let mut verdicts = Vec::new();
    let mut most = |what: &str, measured: Option<f64>, unit, budget| {
        verdicts.extend(measured.map(|measured| Verdict::new(what, measured, unit, true, budget)));
    };
    most("request to monitor", of(|turn| turn.started), "ms", 50.0);
    most("network of a seat", of(|turn| stage(turn, "network")), "ms", 5.0);
    most("disks of a seat", of(|turn| stage(turn, "volume")), "ms", 10.0);
    most("disks of a seat", of(|turn| turn.disk_bytes as f64 / 1_048_576.0), "MiB", 1.0);
    let alone = median(measured.bare.iter().map(|bare| bare.0));
    let ours = of(|turn| turn.started).zip(alone).map(|(started, alone)| started - alone);
    most("the same without what QEMU takes alone", ours, "ms", 50.0);
    verdicts
}

/// What is compared within one run.
fn ratios(prefix: &str, measured: &Guests) -> Vec<Verdict> {
    let bare = median(measured.bare.iter().map(|bare| bare.1));
    let boot = median(measured.turns.iter().map(|turn| turn.agent)).zip(bare);
    let boot = ("boot: service / bare command", boot.map(|(agent, bare)| agent / bare), 1.1);
    let all = [boot].into_iter().chain(snapshots::ratios(measured));
    let judged = all.filter_map(|(what, ratio, budget)| {
        Some(Verdict::new(format!("{prefix}{what}"), ratio?, "×", true, budget))
    });
    judged.collect()
}

fn median(of: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(of).map(|spread| spread.median)
}

/// Milliseconds of a stage; one that was not told took none.
fn stage(turn: &Turn, name: &str) -> f64 {
    turn.stages.get(name).copied().unwrap_or_default()
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_figures_are_marked_and_compared_with_their_own() {
        let measured = Guests {
            bare: vec![(1.0, 100.0)],
            bare_restores: vec![(10.0, 10.0)],
            restores: vec![super::super::restored::Restored { agent: 30.0, workspace: 40.0, restore: 21.0 }],
            ..Guests::default()
        };
        let nested = Place::Nested { outer_memory_mib: 4096 };
        let report = Report { firecracker_guests: Some((nested, measured)), ..Report::default() };
        let verdicts = verdicts(&report);
        let [verdict] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        assert_eq!(verdict.what, "Firecracker, nested: restore: service / bare command");
        assert!((verdict.measured - 1.05).abs() < 1e-9 && verdict.met, "{verdict:?}");
    }
}
