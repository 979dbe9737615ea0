//! `cargo xtask fmt` and `cargo xtask lint`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::child::{installed, show};
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Formats, or only checks the format.
pub(crate) async fn fmt(repo: &Repo, stop: &Stop, check: bool) -> Result<bool> {
    let mut cargo = repo.cargo();
    cargo.args(["fmt", "--all"]);
    if check {
        cargo.arg("--check");
    }
    let clean = show(&mut cargo, stop).await?.success();
    if check && !clean {
        console::error("not formatted; `cargo xtask fmt` does it");
    }
    Ok(clean)
}

/// Runs all linters, so that one run shows all there is to do.
pub(crate) async fn run(repo: &Repo, stop: &Stop) -> Result<bool> {
    console::title("format");
    let formatted = fmt(repo, stop, true).await?;
    console::title("clippy");
    let mut cargo = repo.cargo();
    cargo.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    let clippy = show(&mut cargo, stop).await?.success();
    console::title("shellcheck");
    let shell = shellcheck(repo, stop).await?;
    let clean = formatted && clippy && shell;
    console::line(if clean { "lint: clean" } else { "lint: see above" });
    Ok(clean)
}

async fn shellcheck(repo: &Repo, stop: &Stop) -> Result<bool> {
    if !installed("shellcheck") {
        console::line("skipped: shellcheck is not installed (scripts/ensure-test-tools.sh installs it)");
        return Ok(true);
    }
    let mut scripts = vec![PathBuf::from(".ci/run")];
    for folder in ["scripts", "images", "deploy", "crates"] {
        find(repo.root(), Path::new(folder), &mut scripts)?;
    }
    scripts.sort();
    let mut command = repo.command("shellcheck");
    command.args(["--external-sources", "--severity=style"]).args(scripts);
    Ok(show(&mut command, stop).await?.success())
}

/// The shell scripts below a folder, relative to the root: their messages are then short.
fn find(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            find(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "sh") {
            found.push(path);
        }
    }
    Ok(())
}
