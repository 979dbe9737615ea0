//! `cargo xtask test`: every tier that can run here, and an honest count.
//!
//! | tier      | what counts as a test                                                        | skipped            |
//! |-----------|------------------------------------------------------------------------------|--------------------|
//! | `unit`    | each test of `cargo test --workspace`: unit, property, doc, simulated seats  | –                  |
//! | `portal`  | each test of the portal and its client, its linters, and one `npm audit`     | without Node.js 20 |
//! | `docker`  | each ignored test of the targets `docker_*`, on a real engine                | without an engine  |
//! | `corpus`  | each ignored test of `docker_corpus`, `corpus` and `hostile`: all real images, and the largest made ones; only when it is named | without an engine |
//! | `vm`      | each ignored test of the targets `vm_*`, with guests under QEMU               | without QEMU or a guest kernel |
//! | `firecracker` | each ignored test of the targets `fc_*`, with the real Firecracker and jailer | unless `FIRECRACKER_BIN` and `JAILER_BIN` name them |
//! | `netns`   | each ignored test of the targets `netns_*`, in network namespaces of its own   | where namespaces cannot be made |
//! | `images`  | each test of `images/tests`                                                  | without python3    |
//! | `wrappers` | each test of the old scripts' wrappers                                      | without python3    |
//! | `deploy`  | each test of the compose file and the systemd unit                           | without python3    |
//! | `api`     | each operation of the OpenAPI document, and their sequences, fuzzed          | without pip        |
//! | `demo`    | one: `make demo` comes up, answers, and is gone                              | without an engine  |
//! | `deny`    | one: licences, bans and sources of all dependencies                          | without cargo-deny |
//! | `leaks`   | one: the engine holds nothing of ours that it did not hold before            | without an engine  |
//! | `secrets` | one: no api key in anything that the tiers before it printed                 | –                  |
//!
//! A check that found out that it cannot run counts as skipped, whatever its test runner thinks of it.

mod api;
mod cargo;
mod demo;
mod deny;
mod leaks;
mod portal;
mod python;
mod secrets;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use self::python::Suite;
use crate::counts::{Counts, Report};
use crate::engine::Object;
use crate::repo::Repo;
use crate::stop::Stop;
use crate::{console, engine};

/// Which tiers to run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Choice {
    /// Only these tiers.
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// The same, as an option.
    #[arg(long = "tier", value_enum, value_name = "TIER")]
    more: Vec<Tier>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Unit, property and doc tests, and the whole service over the simulated provider.
    Unit,
    /// The portal, its client, and their linters. Before those tests that run the client over real seats.
    Portal,
    /// Tests on a real Docker engine.
    Docker,
    /// Every image of the corpus compared and booted; minutes, and not part of a run without names.
    Corpus,
    /// Tests that boot guests under QEMU.
    Vm,
    /// Tests with the real Firecracker and its jailer, which `FIRECRACKER_BIN` and `JAILER_BIN` name.
    Firecracker,
    /// Tests of bridges and the packet filter, in network namespaces of their own.
    Netns,
    /// Tests of the images.
    Images,
    /// The wrappers with the old scripts' names.
    Wrappers,
    /// The compose file and the systemd unit.
    Deploy,
    /// The OpenAPI document fuzzed.
    Api,
    /// The demo from its start to its end.
    Demo,
    /// Licences, bans and sources of all dependencies.
    Deny,
    /// Nothing of ours left on the engine.
    Leaks,
    /// No api key in anything that was printed.
    Secrets,
}

/// What the tiers share.
struct Bench<'a> {
    repo: &'a Repo,
    stop: &'a Stop,
    /// Everything that the tiers print is kept here.
    output: PathBuf,
    /// Why there is no engine, if so.
    no_engine: Option<String>,
    /// What the engine held before the first tier.
    before: BTreeSet<Object>,
}

/// Runs the tiers; in order means that nothing failed. The last line printed is the count.
pub(crate) async fn run(repo: &Repo, stop: &Stop, choice: &Choice) -> Result<bool> {
    let output = repo.scratch("test-output");
    drop(std::fs::remove_dir_all(&output));
    std::fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let no_engine = engine::trouble().await;
    let before = if no_engine.is_none() { engine::objects(None).await? } else { BTreeSet::new() };
    let bench = Bench { repo, stop, output, no_engine, before };

    let named: Vec<_> = choice.tiers.iter().chain(&choice.more).collect();
    let wanted = |tier: &&Tier| named.contains(tier) || named.is_empty() && **tier != Tier::Corpus;
    let tiers: Vec<_> = Tier::value_variants().iter().filter(wanted).copied().collect();
    let mut reports = Vec::new();
    if !tiers.iter().all(|tier| matches!(tier, Tier::Images | Tier::Deny | Tier::Leaks | Tier::Secrets)) {
        console::title("build");
        let started = Instant::now();
        if !cargo::build(&bench).await? {
            let failed = Report::one(Some("it does not compile (see above)".into()));
            reports.push(Report { name: "build", took: started.elapsed(), ..failed });
            return Ok(summary(&reports));
        }
        console::dim(&format!("  {} s", started.elapsed().as_secs()));
    }
    for tier in tiers {
        let name = tier.name();
        console::title(name);
        let started = Instant::now();
        // A tier that could not be carried out is a failure of that tier, and the others still have their say.
        let mut report = match tier.run(&bench).await {
            Err(error) if error.is::<crate::stop::Interrupted>() => return Err(error),
            Err(error) => Report::one(Some(format!("{error:#}"))),
            Ok(report) => report,
        };
        (report.name, report.took) = (name, started.elapsed());
        tell(&report);
        reports.push(report);
    }
    Ok(summary(&reports))
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Docker => "docker",
            Self::Corpus => "corpus",
            Self::Vm => "vm",
            Self::Firecracker => "firecracker",
            Self::Netns => "netns",
            Self::Images => "images",
            Self::Portal => "portal",
            Self::Wrappers => "wrappers",
            Self::Deploy => "deploy",
            Self::Api => "api",
            Self::Demo => "demo",
            Self::Deny => "deny",
            Self::Leaks => "leaks",
            Self::Secrets => "secrets",
        }
    }

    async fn run(self, bench: &Bench<'_>) -> Result<Report> {
        match self {
            Self::Unit => cargo::unit(bench).await,
            Self::Docker => cargo::docker(bench).await,
            Self::Corpus => cargo::corpus(bench).await,
            Self::Vm => cargo::vm(bench).await,
            Self::Firecracker => cargo::firecracker(bench).await,
            Self::Netns => cargo::netns(bench).await,
            Self::Images => python::run(bench, Suite::IMAGES).await,
            Self::Portal => portal::run(bench).await,
            Self::Wrappers => python::run(bench, Suite::WRAPPERS).await,
            Self::Deploy => python::run(bench, Suite::DEPLOY).await,
            Self::Api => api::run(bench).await,
            Self::Demo => demo::run(bench).await,
            Self::Deny => deny::run(bench).await,
            Self::Leaks => leaks::run(bench).await,
            Self::Secrets => secrets::run(bench),
        }
    }
}

fn tell(report: &Report) {
    for failure in &report.failures {
        console::line(&format!("  {} {failure}", console::styled("31", "failed")));
    }
    for skip in &report.skips {
        console::line(&format!("  {} {skip}", console::styled("33", "skipped")));
    }
}

/// The table of the tiers, and the closing line.
fn summary(reports: &[Report]) -> bool {
    console::title("tier         passed  failed  skipped    took");
    let mut total = Counts::default();
    for report in reports {
        let Counts { passed, failed, skipped } = report.counts;
        let ran = if passed + failed == 0 { "did not run" } else { &seconds(report.took) };
        console::line(&format!("{:11}  {passed:6}  {failed:6}  {skipped:7}  {ran:>6}", report.name));
        total += report.counts;
    }
    for report in reports.iter().filter(|report| !report.failures.is_empty()) {
        for failure in &report.failures {
            // The whole of it stands with its tier.
            let first = failure.lines().next().unwrap_or_default();
            console::line(&format!("{} {}: {first}", console::styled("31", "failed"), report.name));
        }
    }
    console::line("");
    console::line(&total.to_string());
    total.failed == 0
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}
