//! The tests that look at the product from outside, in Python with nothing but its standard library: the images, the
//! scripts' wrappers, the compose file and the unit. They skip what cannot run on this host, and say why.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use crate::child::{installed, record, show};
use crate::counts::{Counts, Report};
use crate::parse::unittest;

/// Where tests find the service's binary.
pub(super) const SERVICE: &str = "CLARATEACH_TEST_SERVICE";

/// A folder of tests.
pub(super) struct Suite {
    name: &'static str,
    folder: &'static str,
    limit: Duration,
}

impl Suite {
    /// Tests of the images.
    pub(super) const IMAGES: Self = Self::new("images", "images/tests", 10);
    /// Tests of the wrappers that have the names of the old scripts.
    pub(super) const WRAPPERS: Self = Self::new("wrappers", "deploy/compat/tests", 10);
    /// Tests of the compose file, its images, and the systemd unit.
    pub(super) const DEPLOY: Self = Self::new("deploy", "deploy/tests", 40);

    const fn new(name: &'static str, folder: &'static str, minutes: u64) -> Self {
        Self { name, folder, limit: Duration::from_secs(minutes * 60) }
    }
}

/// Runs a suite; builds the images that all of them use.
pub(super) async fn run(bench: &Bench<'_>, suite: Suite) -> Result<Report> {
    if !installed("python3") {
        let number = tests(&bench.repo.root().join(suite.folder))?;
        let why = "python3 is not installed (scripts/ensure-test-tools.sh installs it)";
        return Ok(Report::skipped(number, format!("{number} tests: {why}")));
    }
    let mut unbuilt = Vec::new();
    if bench.no_engine.is_none() {
        for script in ["images/workspace/build.sh", "images/testbed/build.sh"] {
            if !show(&mut bench.repo.command(script), bench.stop).await?.success() {
                unbuilt.push(format!("{script} failed (see above)"));
            }
        }
    }
    let mut python = bench.repo.command("python3");
    python.args(["-B", "-m", "unittest", "discover", "--verbose", "-s", suite.folder]);
    python.env(SERVICE, bench.repo.service());
    let log = bench.output.join(format!("{}.log", suite.name));
    let mut ended = false;
    let record = record(&mut python, &log, suite.limit, bench.stop, |line| {
        // From the first rule on it is the runner's report: failures, number, verdict.
        ended |= line.starts_with("=====") || line.starts_with("-----");
        (ended && !line.is_empty()).then(|| format!("  {line}"))
    });
    let record = record.await?;
    let mut report = match unittest::results(&record.text) {
        Some((counts, skips)) => Report { counts, skips, ..Report::default() },
        None => Report { counts: Counts::one(false), ..Report::default() },
    };
    report.failures.extend(record.trouble.clone());
    if record.trouble.is_some() && report.counts.failed == 0 {
        report.counts.failed = 1;
    }
    for script in unbuilt {
        report.fail(script);
    }
    Ok(report)
}

/// How many tests the folder has, without Python to ask.
fn tests(folder: &Path) -> Result<usize> {
    let mut number = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "py") {
            let text = std::fs::read_to_string(path)?;
            number += text.lines().filter(|line| line.trim_start().starts_with("def test_")).count();
        }
    }
    Ok(number)
}
