//! The running service against its own OpenAPI document: schemathesis makes up requests, good and bad ones, and whole
//! sequences of them, and holds every answer against the document.
//!
//! One test per operation, and one for the sequences. A failure is a 5xx; a status, header, body or content type that the
//! document does not know; bad input accepted; or an answer to somebody without the token. The requests are the same in
//! every run.
//!
//! schemathesis lives in a Python environment in the cache folder, made once per version and Python.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, secrets};
use crate::child::{self, installed, record};
use crate::console;
use crate::counts::{Counts, Report};
use crate::parse::junit;
use crate::repo::cache;
use crate::service::Service;

const DOCUMENT: &str = "openapi/orchestrator.json";
/// The exact versions of schemathesis and of what it needs.
const PINS: &str = "xtask/schemathesis.txt";
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long requests are made up; the rest of the limit is for shrinking a failure.
const FUZZ_SECONDS: &str = "90";
const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Report> {
    let document = std::fs::read_to_string(bench.repo.root().join(DOCUMENT))?;
    let tests = operations(&document)? + 1;
    let program = match schemathesis(bench).await? {
        Ok(program) => program,
        Err(why) => return Ok(Report::skipped(tests, format!("{tests} tests: {why}"))),
    };
    let folder = bench.output.join("api");
    std::fs::create_dir_all(&folder)?;
    let flags = ["--provider", "sim", "--listen", "127.0.0.1:0"];
    let token = format!("{}token", secrets::MARKER);
    let service = Service::start(&bench.repo.service(), &folder, &flags, Some(&token)).await?;

    let junit = folder.join("junit.xml");
    let mut fuzz = bench.repo.command(program);
    // It keeps notes in the folder that it runs in.
    fuzz.current_dir(&folder).arg("run").arg(bench.repo.root().join(DOCUMENT));
    fuzz.args(["--no-color", "--generation-deterministic", "--request-timeout", "30"]);
    fuzz.args(["--max-time", FUZZ_SECONDS, "--url", &service.url()]);
    // It also leaves the token out, and sends a wrong one.
    fuzz.args(["--header", &format!("Authorization: Bearer {token}")]);
    // The document cannot say which images a host has, nor that one member needs another: a request that fits its
    // schema may be refused. What it must not do is fail in a way that the document does not know.
    fuzz.args(["--exclude-checks", "positive_data_acceptance"]);
    fuzz.arg("--report-junit-path").arg(&junit);
    fuzz.env("PYTHONDONTWRITEBYTECODE", "1");
    let log = bench.output.join("api.log");
    let record =
        record(&mut fuzz, &log, LIMIT, bench.stop, |line| (!line.is_empty()).then(|| format!("  {line}")));
    let record = record.await;
    let stopped = service.stop().await;
    let record = record?;

    let counts = junit::counts(&std::fs::read_to_string(&junit).unwrap_or_default());
    let mut report = Report { counts: counts.unwrap_or_else(|| Counts::one(false)), ..Report::default() };
    report.failures.extend(record.trouble.clone().map(|trouble| format!("schemathesis {trouble}")));
    if record.trouble.is_some() && report.counts.failed == 0 {
        report.counts.failed = 1;
    }
    let missing = tests.saturating_sub(report.counts.all());
    if missing > 0 && record.trouble.is_none() {
        report.fail(format!("{missing} operations were not tested"));
    }
    if let Err(error) = stopped {
        report.fail(format!("{error:#}"));
    }
    Ok(report)
}

/// The program, installed if need be; or why it cannot be had.
async fn schemathesis(bench: &Bench<'_>) -> Result<Result<PathBuf, String>> {
    if !installed("python3") {
        return Ok(Err("python3 is not installed (scripts/ensure-test-tools.sh installs it)".into()));
    }
    let pins = bench.repo.root().join(PINS);
    let python = child::output(bench.repo.command("python3").arg("--version")).await?;
    let home = cache()?.join("schemathesis");
    let program = home.join("bin/schemathesis");
    // Written last, so that an environment without it is half made.
    let seal = home.join("made-of");
    let made_of = format!("{}{}", python, std::fs::read_to_string(&pins)?);
    if std::fs::read_to_string(&seal).is_ok_and(|found| found == made_of) && program.exists() {
        return Ok(Ok(program));
    }
    console::line("  installing schemathesis from PyPI");
    match install(bench, &home, &pins).await {
        Ok(()) => std::fs::write(&seal, made_of)?,
        Err(error) if error.is::<crate::stop::Interrupted>() => return Err(error),
        Err(error) => return Ok(Err(format!("schemathesis cannot be installed: {error:#}"))),
    }
    Ok(Ok(program))
}

async fn install(bench: &Bench<'_>, home: &Path, pins: &Path) -> Result<()> {
    if home.exists() {
        std::fs::remove_dir_all(home)?;
    }
    let mut venv = bench.repo.command("python3");
    venv.args(["-m", "venv"]).arg(home);
    let mut pip = bench.repo.command(home.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(pins);
    for (mut command, name) in [(venv, "venv"), (pip, "pip")] {
        let log = bench.output.join(format!("install-{name}.log"));
        let record = record(&mut command, &log, INSTALL_LIMIT, bench.stop, |_| None).await?;
        let last = record.text.trim().lines().last().unwrap_or_default();
        ensure!(record.trouble.is_none(), "{name} {}: {last}", record.trouble.unwrap_or_default());
    }
    Ok(())
}

fn operations(document: &str) -> Result<usize> {
    let document: serde_json::Value = serde_json::from_str(document)?;
    let paths = document["paths"].as_object().context("the document has no paths")?;
    const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
    let methods = paths.values().filter_map(|path| path.as_object()).flat_map(|path| path.keys());
    Ok(methods.filter(|method| METHODS.contains(&method.as_str())).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_and_nothing_else_of_a_path() {
        let document = r#"{"paths": {"/a": {"get": {}, "put": {}, "parameters": []}, "/b": {"delete": {}}}}"#;
        assert_eq!(operations(document).unwrap(), 3);
        assert!(operations("{}").is_err());
    }
}
