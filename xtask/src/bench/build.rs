//! The binary that is measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Options;
use crate::child;
use crate::repo::Repo;
use crate::stop::Stop;

/// Makes a release build and copies it to `folder`, so that another build in between does not exchange it.
pub(super) async fn release(repo: &Repo, stop: &Stop, options: &Options, folder: &Path) -> Result<PathBuf> {
    let built = match &options.binary {
        Some(binary) => binary.clone(),
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
