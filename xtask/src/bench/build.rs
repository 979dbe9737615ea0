//! The binaries: the one that is measured, and the one that measures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::child::{self, Family};
use crate::repo::Repo;
use crate::stop::Stop;

/// How long an interrupted bench may take to remove what it has on the engine.
const SWEEP: Duration = Duration::from_secs(180);

/// Runs the same command line with a release build of this program.
pub(super) async fn again_in_release(repo: &Repo, stop: &Stop) -> Result<bool> {
    let mut cargo = repo.cargo();
    cargo.args(["build", "--release", "--quiet", "--package", "xtask"]);
    ensure!(child::show(&mut cargo, stop).await?.success(), "the release build of the bench failed");
    let mut again = repo.command(repo.scratch("release").join("xtask"));
    again.args(std::env::args_os().skip(1));
    let mut family = Family::spawn(&mut again)?;
    let ended = stop.or(family.ended()).await;
    if ended.is_err() {
        family.end(SWEEP).await?;
    }
    Ok(ended?.success())
}

/// Makes a release build, unless there is one, and copies it to `folder`, so that another build in between does not exchange it.
pub(super) async fn release(
    repo: &Repo,
    stop: &Stop,
    binary: Option<&Path>,
    folder: &Path,
) -> Result<PathBuf> {
    let built = match binary {
        Some(binary) => binary.to_owned(),
        None => {
            let mut cargo = repo.cargo();
            cargo.args(["build", "--release", "--quiet", "--package", "orchestrator"]);
            ensure!(child::show(&mut cargo, stop).await?.success(), "the release build failed");
            repo.scratch("release").join("orchestrator")
        }
    };
    let copy = folder.join("orchestrator");
    std::fs::copy(&built, &copy).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(copy)
}
