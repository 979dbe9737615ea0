//! The tiers that cargo runs.
//!
//! Tests that need a Docker engine are ignored tests in targets named `docker_*`: the unit tier leaves them out, and the
//! docker tier runs these and no others. Those that boot guests are ignored tests in targets named `vm_*`, and the vm tier's; those
//! that run the real Firecracker are in targets named `fc_*`, and those that need network namespaces of their own in targets named `netns_*`.

use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::Bench;
use crate::agent;
use crate::child::{self, Record, record, show};
use crate::console;
use crate::counts::{Counts, Report};
use crate::parse::{conformance, libtest};

const UNIT_LIMIT: Duration = Duration::from_secs(20 * 60);
const DOCKER_LIMIT: Duration = Duration::from_secs(30 * 60);
const VM_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Of guests in a guest, whose tests take turns: each may take an hour and a half on a busy machine.
const NESTED_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// Builds all tests and the binaries that they start.
pub(super) async fn build(bench: &Bench<'_>) -> Result<bool> {
    // What `cargo test --no-run` does, without a line for each binary.
    let mut cargo = bench.repo.cargo();
    Ok(show(cargo.args(["build", "--workspace", "--tests"]), bench.stop).await?.success())
}

/// All tests but the docker tier's.
pub(super) async fn unit(bench: &Bench<'_>) -> Result<Report> {
    let mut cargo = test(bench);
    cargo.args(["--no-fail-fast", "--", "--show-output"]);
    let record = run(bench, &mut cargo, "unit", UNIT_LIMIT).await?;
    let mut report = judge(&record, false);
    unskip(bench, &mut report, "unit");
    Ok(report)
}

/// The docker tier's.
pub(super) async fn docker(bench: &Bench<'_>) -> Result<Report> {
    ignored(bench, "docker", &["docker_*"], &["scratch", "twenty"]).await
}

/// All real images.
pub(super) async fn corpus(bench: &Bench<'_>) -> Result<Report> {
    ignored(bench, "corpus", &["docker_corpus", "corpus", "hostile"], &[]).await
}

/// Those that boot guests: with a kernel of the distribution, the guest agent as guests have it, and QEMU.
pub(super) async fn vm(bench: &Bench<'_>) -> Result<Report> {
    const TARGETS: [&str; 1] = ["vm_*"];
    let list = child::output(ignored_tests(bench, &TARGETS).arg("--list")).await?;
    let number = libtest::listed(&list);
    if !cfg!(target_os = "linux") {
        return Ok(Report::skipped(number, format!("{number} tests: the guest agent is built on Linux")));
    }
    if !child::installed("qemu-system-x86_64") {
        let why = "no qemu-system-x86_64 (scripts/ensure-test-tools.sh installs it)";
        return Ok(Report::skipped(number, format!("{number} tests: {why}")));
    }
    // Without them the tests say that they cannot run.
    show(&mut bench.repo.command("scripts/ensure-guest-kernel.sh"), bench.stop).await?;
    let agent = agent::build(bench.repo, bench.stop).await?;
    anyhow::ensure!(agent.is_some(), "the guest agent does not compile (see above)");
    let mut cargo = ignored_tests(bench, &TARGETS);
    with_workspace(bench, &mut cargo).await?;
    run_tests(bench, "vm", cargo, number, VM_LIMIT).await
}

/// Those that run the real Firecracker and its jailer, where the environment names them; those that need Linux guests under it do so in an outer guest.
pub(super) async fn firecracker(bench: &Bench<'_>) -> Result<Report> {
    const TARGETS: [&str; 1] = ["fc_*"];
    let list = child::output(ignored_tests(bench, &TARGETS).arg("--list")).await?;
    let number = libtest::listed(&list);
    let is_named = |variable: &str| std::env::var_os(variable).is_some_and(|path| !path.is_empty());
    let unnamed: Vec<_> =
        ["FIRECRACKER_BIN", "JAILER_BIN"].into_iter().filter(|name| !is_named(name)).collect();
    if !unnamed.is_empty() {
        let how = "the full path of the program in a release (https://github.com/firecracker-microvm/firecracker/releases, 1.16 or later), or of a static build of its source";
        let why = format!("{number} tests: no {}: set each to {how}", unnamed.join(" and "));
        return Ok(Report::skipped(number, why));
    }
    // Without them the tests that need a host whose KVM runs Linux say that they cannot run.
    for kernel in ["cloud", "generic"] {
        show(bench.repo.command("scripts/ensure-guest-kernel.sh").arg(kernel), bench.stop).await?;
    }
    // Without it they take the QEMU that is installed.
    show(&mut bench.repo.command("scripts/ensure-outer-qemu.sh"), bench.stop).await?;
    let agent = agent::build(bench.repo, bench.stop).await?;
    anyhow::ensure!(agent.is_some(), "the guest agent does not compile (see above)");
    let mut cargo = ignored_tests(bench, &TARGETS);
    with_workspace(bench, &mut cargo).await?;
    run_tests(bench, "firecracker", cargo, number, NESTED_LIMIT).await
}

/// Gives tests the reference workspace image.
async fn with_workspace(bench: &Bench<'_>, cargo: &mut Command) -> Result<()> {
    let archive = bench.repo.scratch("workspace.tar");
    let mut build = bench.repo.command("images/workspace/build.sh");
    let built = show(build.arg("--archive").arg(&archive), bench.stop).await?;
    // Without it tests would be counted that ran over another image.
    anyhow::ensure!(built.success(), "the reference image could not be built (see above)");
    cargo.env("CLARATEACH_WORKSPACE", &archive);
    Ok(())
}

/// Those that make bridges, TAP devices and packet filters, each in a network namespace of its own.
pub(super) async fn netns(bench: &Bench<'_>) -> Result<Report> {
    const TARGETS: [&str; 1] = ["netns_*"];
    let list = child::output(ignored_tests(bench, &TARGETS).arg("--list")).await?;
    let number = libtest::listed(&list);
    let tried = Command::new("unshare").args(["--net", "--", "ip", "link", "set", "lo", "up"]).output().await;
    let why = match tried {
        Ok(tried) if tried.status.success() => {
            child::installed("nft").then_some(()).ok_or("no nft".to_owned())
        }
        Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(why) => Err(format!("unshare: {why}")),
    };
    if let Err(why) = why {
        return Ok(Report::skipped(number, format!("{number} tests: no network namespaces here: {why}")));
    }
    run_ignored(bench, "netns", &TARGETS, number, DOCKER_LIMIT).await
}

/// The ignored tests of these targets, with these images of the corpus.
async fn ignored(bench: &Bench<'_>, tier: &str, targets: &[&str], images: &[&str]) -> Result<Report> {
    let mut cargo = ignored_tests(bench, targets);
    let list = child::output(cargo.args(["--list"])).await?;
    let number = libtest::listed(&list);
    if let Some(why) = &bench.no_engine {
        return Ok(Report::skipped(number, format!("{number} tests: {why}")));
    }
    for (script, names) in [
        ("images/testbed/build.sh", &[][..]),
        ("images/workspace/build.sh", &[]),
        ("images/corpus/build.sh", images),
    ] {
        let built = show(bench.repo.command(script).args(names), bench.stop).await?;
        anyhow::ensure!(built.success(), "the test images could not be built (see above)");
    }
    // Without it the tests that boot say that they cannot run.
    show(&mut bench.repo.command("scripts/ensure-guest-kernel.sh"), bench.stop).await?;

    run_ignored(bench, tier, targets, number, DOCKER_LIMIT).await
}

/// Runs the ignored tests of these targets, of which there are so many.
async fn run_ignored(
    bench: &Bench<'_>,
    tier: &str,
    targets: &[&str],
    number: usize,
    limit: Duration,
) -> Result<Report> {
    run_tests(bench, tier, ignored_tests(bench, targets), number, limit).await
}

/// Runs the tests of this command, of which there are so many.
async fn run_tests(
    bench: &Bench<'_>,
    tier: &str,
    mut cargo: Command,
    number: usize,
    limit: Duration,
) -> Result<Report> {
    cargo.args(["--test-threads=2", "--show-output"]);
    let record = run(bench, &mut cargo, tier, limit).await?;
    let mut report = judge(&record, true);
    let silent = number.saturating_sub(report.counts.all());
    if silent > 0 {
        report.counts.failed += silent;
        report.failures.push(format!("{silent} more tests did not get to their end"));
    }
    unskip(bench, &mut report, tier);
    Ok(report)
}

fn test(bench: &Bench<'_>) -> Command {
    let mut cargo = bench.repo.cargo();
    cargo.args(["test", "--workspace"]);
    // A build of the binary for its tests must not write the document.
    cargo.env_remove("UPDATE_OPENAPI");
    cargo
}

fn ignored_tests(bench: &Bench<'_>, targets: &[&str]) -> Command {
    let mut cargo = test(bench);
    cargo.arg("--no-fail-fast");
    for target in targets {
        cargo.args(["--test", target]);
    }
    cargo.args(["--", "--ignored"]);
    cargo
}

async fn run(bench: &Bench<'_>, cargo: &mut Command, tier: &str, limit: Duration) -> Result<Record> {
    cargo.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
    cargo.env("CONFORMANCE_REPORT", bench.output.join(format!("conformance-{tier}.tsv")));
    // What the services say that the tests start, beside what the tests say.
    cargo.env("CLARATEACH_TEST_OUTPUT", bench.output.join(format!("{tier}-processes")));
    let log = bench.output.join(format!("{tier}.log"));
    let mut view = View::default();
    record(cargo, &log, limit, bench.stop, |line| view.shown(line)).await
}

/// What is shown of a run: how each binary with tests ended, and all that failed tests said.
#[derive(Debug, Default)]
struct View {
    binary: String,
    failures: bool,
}

impl View {
    fn shown(&mut self, line: &str) -> Option<String> {
        if let Some(name) = libtest::header(line) {
            (self.binary, self.failures) = (name, false);
            return None;
        }
        if let Some(Counts { passed, failed, .. }) = libtest::result(line) {
            self.failures = false;
            let wrong =
                if failed > 0 { console::styled("31", &format!("  {failed} FAILED")) } else { "".into() };
            return (passed + failed > 0).then(|| format!("  {passed:4} ok{wrong}  {}", self.binary));
        }
        self.failures |= line == "failures:";
        let matters = self.failures
            || libtest::ended_with(line, "FAILED").is_some()
            || line.starts_with("error")
            || line.contains("process didn't exit successfully")
            || line.contains("has been running for over");
        matters.then(|| format!("    {line}"))
    }
}

/// Counts what was recorded: `ignored` says whether the ignored tests are meant.
fn judge(record: &Record, ignored: bool) -> Report {
    let mut report = Report::default();
    for binary in libtest::binaries(&record.text) {
        report.failures.extend(binary.failed.iter().map(|test| format!("{} {test}", binary.name)));
        let Some(mut counts) = binary.counts else {
            report.fail(format!("{} ended before it could say how", binary.name));
            continue;
        };
        // They are those of another tier, which counts them itself.
        if binary.has_own_tier() && !ignored {
            counts.skipped = 0;
        } else {
            report.skips.extend(binary.ignored.iter().map(|test| format!("{} {test}", binary.name)));
        }
        report.counts += counts;
    }
    match &record.trouble {
        Some(trouble) if report.counts.failed == 0 => report.fail(format!("cargo test {trouble}")),
        Some(trouble) if trouble.starts_with("took") => report.failures.push(format!("cargo test {trouble}")),
        None if report.counts == Counts::default() => report.fail("cargo test ran no test"),
        _ => {}
    }
    report
}

/// Moves the conformance checks that found out that they cannot run from passed to skipped.
fn unskip(bench: &Bench<'_>, report: &mut Report, tier: &str) {
    let path = bench.output.join(format!("conformance-{tier}.tsv"));
    let skipped = conformance::skipped(&std::fs::read_to_string(path).unwrap_or_default());
    report.counts.passed = report.counts.passed.saturating_sub(skipped.len());
    report.counts.skipped += skipped.len();
    report.skips.extend(skipped);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "\
     Running unittests src/lib.rs (target/debug/deps/seats-11aa22bb33cc44dd)
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running tests/docker_faults.rs (target/debug/deps/docker_faults-99aa22bb33cc44dd)
test every_step ... ignored, docker tier: needs an engine
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.23s
     Running tests/other.rs (target/debug/deps/other-99aa22bb33cc44dd)
test slow ... ignored, takes an hour
test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.23s
";

    fn judged(text: &str, trouble: Option<&str>, docker: bool) -> Report {
        judge(&Record { trouble: trouble.map(str::to_owned), text: text.to_owned() }, docker)
    }

    #[test]
    fn the_unit_tier_leaves_the_docker_tier_to_itself() {
        let report = judged(RUN, None, false);
        assert_eq!(report.counts, Counts { passed: 3, failed: 0, skipped: 1 });
        assert_eq!(report.skips, ["tests/other.rs slow: takes an hour"]);
        assert_eq!(judged(RUN, None, true).counts.skipped, 2);
        let guests = RUN.replace("tests/other.rs", "tests/vm_agent/main.rs");
        assert_eq!(judged(&guests, None, false).counts.skipped, 0);
    }

    #[test]
    fn a_binary_without_a_result_is_a_failure() {
        let crash =
            "     Running tests/crash.rs (target/debug/deps/crash-99aa22bb33cc44dd)\nrunning 1 test\n";
        let report = judged(&format!("{RUN}{crash}"), Some("ended with exit status: 101"), false);
        assert_eq!(report.counts, Counts { passed: 3, failed: 1, skipped: 1 });
        assert_eq!(report.failures, ["tests/crash.rs ended before it could say how"]);
    }

    #[test]
    fn trouble_without_a_failed_test_is_a_failure() {
        let report = judged(RUN, Some("left processes behind that hold on to its output"), false);
        assert_eq!(report.counts.failed, 1);
        assert_eq!(judged("", None, false).failures, ["cargo test ran no test"]);
    }

    #[test]
    fn what_failed_tests_said_is_shown() {
        let mut view = View::default();
        let mut shows = |line: &str| view.shown(line).is_some();
        assert!(!shows("test a ... ok"));
        assert!(shows("test b ... FAILED"));
        assert!(!shows("successes:"));
        assert!(shows("failures:"));
        assert!(shows("thread 'b' panicked"));
        assert!(shows("test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"));
        assert!(!shows("running 3 tests"));
        assert!(!shows("test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out"));
    }
}
