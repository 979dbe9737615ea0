//! The result for people.

use super::report::{OfImage, OfWay, Report};
use crate::bench::print::{machine, spread, verdicts};
use crate::bench::spread::Spread;
use crate::bench::table::Table;
use crate::console;

/// The stages of the converter, in their order.
const STAGES: [&str; 5] = ["fetch", "scan", "layout", "write", "sync"];

/// Prints the whole result.
pub(super) fn report(report: &Report) {
    machine(&report.machine);
    console::line(&format!(
        "{}, code {}, on {}, {} rounds, load {:.2} before and {:.2} after",
        report.taken_at,
        report.machine.code,
        report.file_system,
        report.rounds,
        report.machine.load[0],
        report.machine.load[1]
    ));
    for image in &report.images {
        print_image(image);
    }
    console::line(&format!(
        "\npeak: of the largest program, nothing below {:.1} MiB can be seen; programs: their processor time and what \
         they write; disk: what the whole machine writes to it",
        report.peak_floor_mib
    ));
    verdicts(&report.verdicts);
}

fn print_image(image: &OfImage) {
    let prepared = &image.prepared;
    console::title(&format!(
        "{}: {:.0} MiB in {} files, {:.0} MiB saved; median (least to most)",
        prepared.image, prepared.tree_mib, prepared.files, prepared.archive_mib
    ));
    let mut table = Table::new([
        "way",
        "wall ms",
        "programs CPU ms",
        "engine CPU ms",
        "peak MiB",
        "programs write MiB",
        "disk MiB",
        "file MiB",
    ]);
    for way in &image.ways {
        table.row([
            way.way.to_string(),
            spread(&way.wall_ms),
            median(Some(&way.cpu_ms)),
            median(Some(&way.engine_cpu_ms)),
            format!("{:.1}", way.peak_mib.max),
            median(way.written_mib.as_ref()),
            median(way.disk_mib.as_ref()),
            median(way.allocated_mib.as_ref()),
        ]);
    }
    table.print();
    let mut table = Table::new(["ratio", "of medians", "by round"]);
    if !image.ratios.is_empty() {
        console::line("");
    }
    for ratio in &image.ratios {
        let by_round = format!("{:.2} to {:.2}", ratio.by_round.min, ratio.by_round.max);
        table.row([
            format!("{} / {}", ratio.above.name(), ratio.below.name()),
            format!("{:.2}", ratio.of_medians),
            by_round,
        ]);
    }
    table.print();
    image.ways.iter().filter(|way| !way.stages_ms.is_empty()).for_each(stages);
}

fn stages(way: &OfWay) {
    let mut stages: Vec<_> = way.stages_ms.iter().collect();
    stages.sort_by_key(|(stage, _)| STAGES.iter().position(|known| known == stage));
    let stages = stages.into_iter().map(|(stage, took)| format!("{stage} {:.1}", took.median));
    console::line(&format!(
        "\n{}: stages, median ms: {}",
        way.way.name(),
        stages.collect::<Vec<_>>().join(" · ")
    ));
}

fn median(spread: Option<&Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| format!("{:.1}", spread.median))
}
