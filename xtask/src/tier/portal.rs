//! The portal and its client, with Node.js.
//!
//! Counted: each test of vitest, one for each linter (`eslint`, `prettier`, `tsc`), and one for `npm audit` of what goes
//! into production. Nothing of Node.js is installed here but the packages that the lock file names.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::Bench;
use crate::child::record;
use crate::counts::{Counts, Report};
use crate::node;
use crate::parse::vitest;

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What is run, in this order, and whether it needs an engine.
const LINTERS: [(&str, &str); 3] = [("eslint", "lint"), ("prettier", "format:check"), ("tsc", "typecheck")];
const TESTS: [(&str, bool); 2] = [("test", false), ("test:docker", true)];

pub(super) async fn run(bench: &Bench<'_>) -> Result<Report> {
    let folder = bench.repo.root().join("portal");
    if let Some(why) = node::trouble().await {
        return Ok(Report::skipped(1, format!("the portal: {why}")));
    }
    let mut report = Report::default();
    let mut install = npm(bench, &folder, &["ci", "--no-audit", "--no-fund"]);
    let log = bench.output.join("portal-install.log");
    let installed = record(&mut install, &log, INSTALL_LIMIT, bench.stop, |_| None).await?;
    let build = match installed.trouble {
        None => {
            node::note_installed(&folder)?;
            let log = bench.output.join("portal-build.log");
            record(&mut npm(bench, &folder, &["run", "build"]), &log, LIMIT, bench.stop, shown).await?.trouble
        }
        Some(trouble) => Some(format!("npm ci: {trouble}; see {}", log.display())),
    };
    if let Some(trouble) = build {
        report.fail(trouble);
        return Ok(report);
    }
    for (name, script) in LINTERS {
        let log = bench.output.join(format!("portal-{name}.log"));
        let mut command = npm(bench, &folder, &["run", "--silent", script]);
        let record = record(&mut command, &log, LIMIT, bench.stop, shown).await?;
        add(&mut report, Report::one(record.trouble.map(|trouble| format!("{name}: {trouble}"))));
    }
    for (script, needs_engine) in TESTS {
        if needs_engine && let Some(why) = &bench.no_engine {
            add(&mut report, Report::skipped(1, format!("npm run {script}: {why}")));
            continue;
        }
        add(&mut report, tests(bench, &folder, script).await?);
    }
    add(&mut report, audit(bench, &folder).await?);
    Ok(report)
}

async fn tests(bench: &Bench<'_>, folder: &Path, script: &str) -> Result<Report> {
    let name = script.replace(':', "-");
    let results = bench.output.join(format!("portal-{name}.json"));
    let mut command = npm(bench, folder, &["run", "--silent", script, "--", "--reporter=default"]);
    command.arg("--reporter=json").arg(format!("--outputFile={}", results.display()));
    let log = bench.output.join(format!("portal-{name}.log"));
    let record = record(&mut command, &log, LIMIT, bench.stop, shown).await?;
    let written = std::fs::read_to_string(&results).ok();
    let mut report = match written.as_deref().and_then(vitest::results) {
        Some((counts, failures, skips)) => Report { counts, failures, skips, ..Report::default() },
        None => Report::default(),
    };
    if let Some(trouble) = record.trouble
        && report.counts.failed == 0
    {
        report.fail(format!("npm run {script}: {trouble}"));
    }
    if report.counts == Counts::default() {
        report.fail(format!("npm run {script}: it ran no test"));
    }
    Ok(report)
}

/// Known weaknesses of what goes into production; only a registry knows them.
async fn audit(bench: &Bench<'_>, folder: &Path) -> Result<Report> {
    let log = bench.output.join("portal-audit.log");
    let mut command = npm(bench, folder, &["audit", "--omit=dev", "--json"]);
    let record = record(&mut command, &log, INSTALL_LIMIT, bench.stop, |_| None).await?;
    let (Some(from), Some(to)) = (record.text.find('{'), record.text.rfind('}')) else {
        return Ok(Report::skipped(1, "npm audit: no registry answers"));
    };
    let answer: serde_json::Value =
        serde_json::from_str(&record.text[from..=to]).context("npm audit printed no JSON")?;
    let Some(total) = answer["metadata"]["vulnerabilities"]["total"].as_u64() else {
        return Ok(Report::skipped(
            1,
            format!("npm audit: the registry does not say ({})", answer["message"]),
        ));
    };
    let trouble = (total > 0).then(|| format!("npm audit: {total} known weaknesses; see {}", log.display()));
    Ok(Report::one(trouble))
}

fn npm(bench: &Bench<'_>, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = bench.repo.command("npm");
    command.current_dir(folder).args(arguments);
    command.env("NO_COLOR", "1").env(super::python::SERVICE, bench.repo.service());
    command
}

fn shown(line: &str) -> Option<String> {
    (!line.trim().is_empty()).then(|| format!("  {line}"))
}

fn add(report: &mut Report, more: Report) {
    report.counts += more.counts;
    report.failures.extend(more.failures);
    report.skips.extend(more.skips);
}
