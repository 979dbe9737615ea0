//! Running checks, one or all.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::{Context, Entry, Harness, Report, Stop, Verdict, all};

/// One promise of a provider, and how it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The promise, as an identifier.
    pub name: &'static str,
    pub(crate) body: fn(Context) -> BoxFuture<'static, Result<(), Stop>>,
}

/// Runs one check and cleans up after it. A check that passes but leaves something behind that cannot be removed
/// has failed.
pub async fn judge(check: Check, harness: Arc<dyn Harness>) -> Verdict {
    let patience = harness.patience();
    let context = Context::new(harness);
    // On a task of its own, so that a panic ends the check and not the clean-up.
    let task = tokio::spawn((check.body)(context.clone()));
    let stop = task.abort_handle();
    let ended = match timeout(patience, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Stop::fail(format!("the check broke down: {error}"))),
        Err(_) => {
            stop.abort();
            Err(Stop::fail(format!("the check does not end within {patience:?}")))
        }
    };
    let cleaned = match timeout(patience, context.clean_up()).await {
        Ok(result) => result,
        Err(_) => Err(Stop::fail(format!("the clean-up does not end within {patience:?}"))),
    };
    match (ended, cleaned) {
        (Ok(()), Err(Stop::Fail(left) | Stop::Skip(left))) => Verdict::Failed(format!("afterwards: {left}")),
        (Err(Stop::Fail(why)), Err(Stop::Fail(left) | Stop::Skip(left))) => {
            Verdict::Failed(format!("{why}; and afterwards: {left}"))
        }
        (ended, _) => Verdict::from(ended),
    }
}

/// Runs every check, one after the other.
pub async fn run(harness: Arc<dyn Harness>) -> Report {
    let mut entries = Vec::new();
    for check in all() {
        entries.push(Entry { name: check.name, verdict: judge(*check, harness.clone()).await });
    }
    Report { provider: harness.provider().kind().to_string(), entries }
}

/// Runs one check on a runtime of its own; what `suite!` makes its tests of.
///
/// # Errors
/// When the check failed; holds what was seen.
pub fn test_one<H, M, F>(name: &'static str, make: M) -> Result<(), String>
where
    H: Harness,
    M: FnOnce() -> F,
    F: Future<Output = Result<H, Stop>>,
{
    let check = all().iter().find(|check| check.name == name).ok_or("there is no such check")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot make a runtime: {error}"))?;
    let (provider, verdict) = runtime.block_on(async {
        match make().await {
            Ok(harness) => {
                let provider = harness.provider().kind().to_string();
                (provider, judge(*check, Arc::new(harness)).await)
            }
            Err(stop) => (String::from("?"), Verdict::from(Err(stop))),
        }
    });
    tell(&provider, name, &verdict).map_err(|error| format!("cannot write the report: {error}"))?;
    match verdict {
        Verdict::Failed(why) => Err(format!("{name}: {why}")),
        Verdict::Passed | Verdict::Skipped(_) => Ok(()),
    }
}

/// Says what libtest cannot: that a check was skipped.
fn tell(provider: &str, name: &str, verdict: &Verdict) -> io::Result<()> {
    if let Verdict::Skipped(reason) = verdict {
        writeln!(io::stderr().lock(), "SKIPPED conformance {provider} {name}: {reason}")?;
    }
    if let Some(path) = env::var_os("CONFORMANCE_REPORT") {
        let reason = verdict.reason().unwrap_or_default().replace(['\n', '\t'], " ");
        let line = format!("{}\t{provider}\t{name}\t{reason}\n", verdict.word());
        // One write of one short line: appending from several processes does not mix them.
        OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())?;
    }
    Ok(())
}
