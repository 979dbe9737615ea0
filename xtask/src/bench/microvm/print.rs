//! What was measured, as tables.

mod snapshots;

use super::bare::Boot;
use super::firecracker::{Firecracker, Start};
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
    let alone = Spread::of(report.network.iter().copied());
    table("the network of a seat", [("by itself, ms", alone)]);
    if let Some(firecracker) = &report.firecracker {
        let spread = |of: &[Start], what: fn(&Start) -> f64| Spread::of(of.iter().map(what));
        let Firecracker { jailed, plain, alone } = firecracker;
        let rows = [
            ("request to its process, jailed, ms", spread(jailed, |start| start.process)),
            ("request to a monitor that runs, jailed, ms", spread(jailed, |start| start.runs)),
            ("request to its process, not jailed, ms", spread(plain, |start| start.process)),
            ("request to a monitor that runs, not jailed, ms", spread(plain, |start| start.runs)),
            ("Firecracker alone to its guest, ms", Spread::of(alone.iter().copied())),
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
    for (what, ratio) in told(report) {
        budgets.row([what, format!("{} ×", figure(ratio)), String::new(), "told".into()]);
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
    let bare = |what: fn(&Boot) -> f64| Spread::of(measured.bare.iter().map(what));
    let rows = [
        ("request to monitor's process, ms", of(|turn| turn.process)),
        ("request to a monitor that runs, ms", of(|turn| turn.started)),
        ("  of it the record, ms", of(|turn| stage(turn, "check"))),
        ("  of it the network, ms", of(|turn| stage(turn, "network"))),
        ("  of it the disks, ms", of(|turn| stage(turn, "volume"))),
        ("  of it the monitor, ms", of(|turn| stage(turn, "create"))),
        (alone, bare(|bare| bare.alone)),
        ("monitor to agent, ms", of(|turn| turn.agent)),
        ("the same by a bare command, ms", bare(|bare| bare.agent)),
        ("agent to workspace, ms", of(|turn| turn.workspace)),
        ("agent to workspace, the same by a bare command, ms", bare(|bare| bare.workspace)),
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
    let network = median(report.network.iter().copied());
    verdicts.extend(
        network.map(|network| Verdict::new("network of a seat, by itself", network, "ms", true, 5.0)),
    );
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
            let process = median(of.iter().map(|start| start.process));
            most(format!("request to Firecracker's process, {how}"), process, 50.0);
            let runs = median(of.iter().map(|start| start.runs));
            most(format!("request to a Firecracker that runs, {how}"), runs, 50.0);
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
    most("request to monitor's process", of(|turn| turn.process), "ms", 50.0);
    most("request to a monitor that runs", of(|turn| turn.started), "ms", 50.0);
    most("network of a seat, beside all else", of(|turn| stage(turn, "network")), "ms", 5.0);
    most("disks of a seat", of(|turn| stage(turn, "volume")), "ms", 10.0);
    most("disks of a seat", of(|turn| turn.disk_bytes as f64 / 1_048_576.0), "MiB", 1.0);
    let alone = median(measured.bare.iter().map(|bare| bare.alone));
    let ours = of(|turn| turn.started).zip(alone).map(|(started, alone)| started - alone);
    most("the same without what QEMU takes alone", ours, "ms", 50.0);
    verdicts
}

/// What is compared within one run.
fn ratios(prefix: &str, measured: &Guests) -> Vec<Verdict> {
    // From the same moment to the same moment: whatever a monitor takes until it runs is in both.
    let start =
        to_bare(measured, |turn| turn.started - turn.process + turn.agent, |bare| bare.alone + bare.agent);
    let boot = to_bare(measured, |turn| turn.agent, |bare| bare.agent);
    let whole = to_bare(measured, |turn| turn.agent + turn.workspace, |bare| bare.agent + bare.workspace);
    let boots = [
        ("monitor's process to agent: service / bare command", start, 1.1),
        ("boot: service / bare command", boot, 1.1),
        ("boot to workspace: service / bare command", whole, 1.1),
    ];
    let all = boots.into_iter().chain(snapshots::ratios(measured));
    let judged = all.filter_map(|(what, ratio, budget)| {
        Some(Verdict::new(format!("{prefix}{what}"), ratio?, "×", true, budget))
    });
    judged.collect()
}

/// What is compared and has no budget: a part of what has one.
fn told(report: &Report) -> Vec<(String, f64)> {
    let qemu = report.qemu.iter().map(|measured| (String::new(), measured));
    let firecracker = report.firecracker_guests.iter();
    let firecracker = firecracker.map(|(place, measured)| (of_firecracker(*place), measured));
    let workspaces = qemu.chain(firecracker).filter_map(|(prefix, measured)| {
        let ratio = to_bare(measured, |turn| turn.workspace, |bare| bare.workspace)?;
        Some((format!("{prefix}agent to workspace: service / bare command"), ratio))
    });
    workspaces.collect()
}

/// What seats take of what bare commands do, in the middle.
fn to_bare(measured: &Guests, seat: fn(&Turn) -> f64, bare: fn(&Boot) -> f64) -> Option<f64> {
    let bare = median(measured.bare.iter().map(bare))?;
    Some(median(measured.turns.iter().map(seat))? / bare)
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
    use std::collections::BTreeMap;

    use super::super::memory::Memory;
    use super::*;

    #[test]
    fn nested_figures_are_marked_and_compared_with_their_own() {
        let measured = Guests {
            bare: vec![Boot { alone: 1.0, agent: 100.0, workspace: 50.0 }],
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

    #[test]
    fn the_way_to_the_workspace_is_compared_in_part_and_as_a_whole() {
        let memory = Memory { guest: 1.0, beyond: 1.0 };
        let turn = Turn {
            process: 20.0,
            started: 60.0,
            agent: 105.0,
            workspace: 75.0,
            stages: BTreeMap::new(),
            disk_bytes: 0,
            memory,
        };
        let bare = vec![Boot { alone: 40.0, agent: 100.0, workspace: 50.0 }];
        let measured = Guests { bare, turns: vec![turn], ..Guests::default() };
        let report = Report { qemu: Some(measured), ..Report::default() };
        let verdicts = verdicts(&report);
        let of = |what: &str| verdicts.iter().find(|verdict| verdict.what == what).unwrap();
        assert!(
            of("request to monitor's process").met && !of("request to a monitor that runs").met,
            "{verdicts:?}"
        );
        let start = of("monitor's process to agent: service / bare command");
        assert!((start.measured - 145.0 / 140.0).abs() < 1e-9 && start.met, "{start:?}");
        let (part, whole) =
            (of("boot: service / bare command"), of("boot to workspace: service / bare command"));
        assert!((part.measured - 1.05).abs() < 1e-9 && part.met, "{part:?}");
        assert!((whole.measured - 1.2).abs() < 1e-9 && !whole.met, "{whole:?}");
        let told = told(&report);
        let [(what, ratio)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((what.as_str(), *ratio), ("agent to workspace: service / bare command", 1.5));
    }
}
