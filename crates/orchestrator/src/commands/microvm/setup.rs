//! `orchestrator microvm setup`

use std::path::PathBuf;

use guest_boot::check::Has;
use guest_boot::{Boot, Report, SetupError, SetupOptions, prepared};
use seats::Finding;
use serde_json::json;

use super::super::findings;
use super::agent;
use crate::config::{Config, MonitorChoice};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

pub(super) fn run(
    from: Option<PathBuf>,
    agent: Option<PathBuf>,
    config: &Config,
    ui: Ui,
) -> anyhow::Result<Exit> {
    let folder = super::boot_folder(config);
    // What every Firecracker loads; QEMU is quicker with what it was given.
    let unpack = config.settings.microvm_monitor == MonitorChoice::Firecracker;
    let options = SetupOptions { from, agent: agent::find(agent)?, folder, unpack };
    // A seat that is being started may have opened it already, and then reads its files.
    let before = Boot::open(&options.folder).map(|boot| boot.id().clone()).ok();
    let report = guest_boot::setup(&options).map_err(|why| failed(&why))?;
    let mut findings = told(&report, &options);
    findings.extend(prune(&options, before.as_slice()));
    findings::show(&findings, json!({ "boot": report }), ui)
}

/// Removes what no seat starts with any more. Seats that run have read theirs.
fn prune(options: &SetupOptions, used: &[guest_boot::BootId]) -> Option<Finding> {
    const NAME: &str = "earlier kernels";
    match prepared::prune(&options.folder, used) {
        Ok(gone) if gone.is_empty() => None,
        Ok(gone) => Some(Finding::ok(NAME, format!("{} removed", gone.len()))),
        Err(why) => Some(Finding::warning(
            NAME,
            format!("cannot be removed from {}: {why}", options.folder.display()),
            "remove them by hand, except for the one that the file 'current' names",
        )),
    }
}

fn told(report: &Report, options: &SetupOptions) -> Vec<Finding> {
    let kernel = format!("Linux {} ({}) from {}", report.version, report.format, report.kernel.display());
    let mut findings = vec![Finding::ok("kernel", kernel)];
    for check in &report.checks {
        findings.push(match check.has {
            Has::BuiltIn => Finding::ok(check.what, format!("{} is part of the kernel", check.setting)),
            Has::Module => Finding::ok(check.what, format!("{} is a module", check.setting)),
            Has::Missing => Finding::warning(
                check.what,
                format!("the kernel has no {}; seats do without", check.setting),
                "take another kernel if you want it",
            ),
            Has::Unknown => Finding::warning(
                check.what,
                format!("nothing says whether the kernel has {}", check.setting),
                format!("keep config-{} beside the kernel", report.version),
            ),
        });
    }
    findings.push(Finding::ok(
        "modules",
        match report.modules.len() {
            0 => "none are needed".to_owned(),
            _ => report.modules.join(", "),
        },
    ));
    findings.push(Finding::ok("agent", options.agent.display().to_string()));
    let place = options.folder.join(&report.id);
    let size = report.initramfs_bytes.div_ceil(1 << 20);
    findings.push(Finding::ok("prepared", format!("{} (first root: {size} MiB)", place.display())));
    findings
}

fn failed(why: &SetupError) -> Failure {
    let exit = match why {
        SetupError::NoKernel(_) => Exit::NotFound,
        _ => Exit::Failure,
    };
    Failure::new(exit, why.to_string()).remedy(why.remedy())
}
