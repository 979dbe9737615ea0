//! What was measured, as tables.

mod snapshots;

use super::inside::Report;
use super::seat::Turn;
use crate::bench::budget::Verdict;
use crate::bench::spread::Spread;
use crate::bench::table::Table;
use crate::console;

pub(super) fn print(report: &Report) {
    let of = |what: fn(&Turn) -> f64| Spread::of(report.turns.iter().map(what));
    let rows = [
        ("request to monitor, ms", of(|turn| turn.started)),
        ("  of it the record, ms", of(|turn| stage(turn, "check"))),
        ("  of it the network, ms", of(|turn| stage(turn, "network"))),
        ("  of it the disks, ms", of(|turn| stage(turn, "volume"))),
        ("  of it the monitor, ms", of(|turn| stage(turn, "create"))),
        ("QEMU alone to its answer, ms", Spread::of(report.bare.iter().map(|bare| bare.0))),
        ("monitor to agent, ms", of(|turn| turn.agent)),
        ("the same by a bare command, ms", Spread::of(report.bare.iter().map(|bare| bare.1))),
        ("agent to workspace, ms", of(|turn| turn.workspace)),
        ("disks of a new seat, KiB", of(|turn| turn.disk_bytes as f64 / 1024.0)),
        ("memory of the guest, MiB", of(|turn| turn.memory.guest)),
        ("memory beyond it, MiB", of(|turn| turn.memory.beyond)),
    ];
    console::title("microVM seats");
    table("one seat", rows);
    snapshots::print(report);
    if let Some(firecracker) = &report.firecracker {
        let spread = |of: &[f64]| Spread::of(of.iter().copied());
        let rows = [
            ("request to monitor, jailed, ms", spread(&firecracker.jailed)),
            ("request to monitor, not jailed, ms", spread(&firecracker.plain)),
            ("Firecracker alone to its guest, ms", spread(&firecracker.alone)),
        ];
        table("one seat of Firecracker", rows);
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
    let of = |what: fn(&Turn) -> f64| Spread::of(report.turns.iter().map(what)).map(|spread| spread.median);
    let mut verdicts = Vec::new();
    let mut most = |what: String, measured: Option<f64>, unit, budget| {
        verdicts.extend(measured.map(|measured| Verdict::new(what, measured, unit, true, budget)));
    };
    most("request to monitor".into(), of(|turn| turn.started), "ms", 50.0);
    most("network of a seat".into(), of(|turn| stage(turn, "network")), "ms", 5.0);
    most("disks of a seat".into(), of(|turn| stage(turn, "volume")), "ms", 10.0);
    most("disks of a seat".into(), of(|turn| turn.disk_bytes as f64 / 1_048_576.0), "MiB", 1.0);
    let alone = Spread::of(report.bare.iter().map(|bare| bare.0)).map(|spread| spread.median);
    let ours = of(|turn| turn.started).zip(alone).map(|(started, alone)| started - alone);
    most("the same without what QEMU takes alone".into(), ours, "ms", 50.0);
    let bare = Spread::of(report.bare.iter().map(|bare| bare.1)).map(|spread| spread.median);
    let boot = of(|turn| turn.agent).zip(bare).map(|(agent, bare)| agent / bare);
    most("boot: service / bare command".into(), boot, "×", 1.1);
    for (what, measured, budget) in snapshots::ratios(report) {
        most(what.to_owned(), measured, "×", budget);
    }
    if let Some(adopted) = &report.adopted {
        most(format!("restart: {} seats known again", adopted.seats), Some(adopted.known), "ms", 1000.0);
    }
    if let Some(firecracker) = &report.firecracker {
        for (how, of) in [("jailed", &firecracker.jailed), ("not jailed", &firecracker.plain)] {
            let median = Spread::of(of.iter().copied()).map(|spread| spread.median);
            most(format!("request to Firecracker, {how}"), median, "ms", 50.0);
        }
    }
    verdicts
}

/// Milliseconds of a stage; one that was not told took none.
fn stage(turn: &Turn, name: &str) -> f64 {
    turn.stages.get(name).copied().unwrap_or_default()
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}
