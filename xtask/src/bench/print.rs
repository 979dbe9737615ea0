//! The result for people.

use super::budget::Verdict;
use super::machine::Machine;
use super::report::{ClassOf, Ratio, Report, WayResult};
use super::resident::Resident;
use super::spread::Spread;
use super::table::Table;
use super::ways::Way;
use crate::console;

/// Prints the whole result.
pub(super) fn report(report: &Report) {
    machine(&report.machine);
    let machine = &report.machine;
    console::line(&format!(
        "{}, code {}, image {}, load {:.2} before and {:.2} after",
        report.taken_at, machine.code, report.image, machine.load[0], machine.load[1]
    ));
    for class in &report.classes {
        print_class(class, "");
    }
    if let Some(class) = &report.stubborn {
        print_class(class, " that ignores SIGTERM");
    }
    if let Some(resident) = &report.resident {
        print_resident(resident);
    }
    if let Some(start) = &report.start_ms {
        console::title("start");
        console::line(&format!("from the start of the process to the first answer: {} ms", spread(start)));
    }
    verdicts(&report.verdicts);
}

/// Where it was measured.
pub(super) fn machine(machine: &Machine) {
    console::title("machine");
    console::line(&format!(
        "{} × {}, {:.1} GiB, Linux {}, Docker {} (API {}, {}, cgroup {})",
        machine.cores,
        machine.processor,
        machine.memory_mib / 1024.0,
        machine.kernel,
        machine.engine,
        machine.engine_api,
        machine.storage,
        machine.cgroups,
    ));
}

fn print_class(class: &ClassOf, kind: &str) {
    console::title(&format!("a class of {}{kind}; milliseconds: median (least to most)", class.seats));
    let mut table = Table::new(["way", "create", "destroy", "service CPU/seat", "engine CPU/seat"]);
    for way in &class.ways {
        let cpu = |of: fn(&WayResult) -> [f64; 2]| {
            let [create, destroy] = of(way);
            format!("{create:.1} + {destroy:.1}")
        };
        let service = match way.way {
            Way::Service => cpu(|way| [way.create_cpu.service_ms, way.destroy_cpu.service_ms]),
            _ => "–".to_owned(),
        };
        let engine = cpu(|way| [way.create_cpu.engine_ms, way.destroy_cpu.engine_ms]);
        table.row([way.way.to_string(), spread(&way.create_ms), spread(&way.destroy_ms), service, engine]);
    }
    table.print();
    console::line("");
    let mut table = Table::new(["ratio", "of medians", "by round", "floor's width"]);
    let mut row = |what: &str, ratio: Option<Ratio>| {
        if let Some(ratio) = ratio {
            let width = ratio.width.map_or_else(|| "–".to_owned(), |width| width.to_string());
            let by_round = format!("{:.2} to {:.2}", ratio.by_round.min, ratio.by_round.max);
            table.row([what.to_owned(), format!("{:.3}", ratio.of_medians), by_round, width]);
        }
    };
    row("create: service / floor, both until ready", class.create_service_to_floor);
    row("create: service / floor that does not wait", class.create_service_to_floor_unready);
    row("create: scripts / service", class.create_scripts_to_service);
    row("create: scripts / floor until ready", class.create_scripts_to_floor);
    row("destroy: service / floor", class.destroy_service_to_floor);
    row("destroy: scripts / service", class.destroy_scripts_to_service);
    table.print();
    if !class.stages_ms.is_empty() {
        let stages = class.stages_ms.iter().map(|(stage, took)| format!("{stage} {:.1}", took.median));
        console::line(&format!("\na seat's stages, median ms: {}", stages.collect::<Vec<_>>().join(" · ")));
    }
}

fn print_resident(resident: &Resident) {
    console::title(&format!("the service with {} seats", resident.seats));
    console::line(&format!(
        "resident MiB: {:.1} started · {:.1} class made · {:.1} listed · {:.1} idle · {:.1} after all listings · \
         {:.1} at its highest",
        resident.rss_started,
        resident.rss_class_made,
        resident.rss_listed,
        resident.rss_idle,
        resident.rss_after_samples,
        resident.rss_highest
    ));
    console::line(&format!(
        "created in {:.0} ms, destroyed in {:.0} ms; all known {:.0} ms after a restart",
        resident.create_ms, resident.destroy_ms, resident.restart_ms
    ));
    if let Some(listing) = &resident.listing {
        let mut table = Table::new(["list", "ms", "95 of 100 below", "samples"]);
        for (what, took) in [("service", &listing.service_ms), ("one engine call", &listing.engine_ms)] {
            table.row([what.to_owned(), spread(took), format!("{:.1}", took.p95), took.samples.to_string()]);
        }
        table.print();
    }
}

/// Tells of networks that the engine did not let go.
pub(super) fn stuck(networks: &[String]) {
    for name in networks {
        console::line(&format!(
            "{name} stays: nothing is attached to it, and the engine says that it has active endpoints (moby issue \
             42119). It can be removed when the engine was restarted."
        ));
    }
}

/// The budgets, and whether they were met.
pub(super) fn verdicts(verdicts: &[Verdict]) {
    console::title("budgets");
    let mut table = Table::new(["what", "measured", "budget", "verdict"]);
    for verdict in verdicts {
        let sign = if verdict.at_most { "≤" } else { "≥" };
        table.row([
            verdict.what.clone(),
            format!("{:.2} {}", verdict.measured, verdict.unit),
            format!("{sign} {} {}", verdict.budget, verdict.unit),
            if verdict.met { "met" } else { "missed" }.to_owned(),
        ]);
    }
    table.print();
}

/// The median, and how far the others lie from it.
pub(super) fn spread(spread: &Spread) -> String {
    if spread.samples == 1 {
        return format!("{:.1}", spread.median);
    }
    format!("{:.1} ({:.1} to {:.1})", spread.median, spread.min, spread.max)
}
