//! `cargo xtask agent`: the guest agent as guests have it.
//!
//! A guest's first root has no libraries, so the agent is linked with the C library in it. The flag goes to this target alone (a
//! named target's flags are not those of build scripts and macros), so nothing else is built anew.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::child::show;
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Builds it, and prints where it is; scripts take that line.
pub(crate) async fn run(repo: &Repo, stop: &Stop) -> Result<bool> {
    let Some(path) = build(repo, stop).await? else { return Ok(false) };
    let size = std::fs::metadata(&path)?.len();
    console::aside(&format!("static, {:.2} MiB", size as f64 / f64::from(1 << 20)));
    console::line(&path.display().to_string());
    Ok(true)
}

/// Builds it; nothing when it does not compile, which cargo has said.
pub(crate) async fn build(repo: &Repo, stop: &Stop) -> Result<Option<PathBuf>> {
    ensure!(cfg!(target_os = "linux"), "the guest agent is a Linux program: build it on Linux");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags = format!("target.{target}.rustflags=[\"-C\", \"target-feature=+crt-static\"]");
    let mut cargo = repo.cargo();
    cargo.args(["build", "--package", "guest-agent", "--bin", "guest-agent", "--profile", "agent"]);
    cargo.args(["--target", &target, "--config", &flags]);
    // They would stand in for the flags above.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !show(&mut cargo, stop).await?.success() {
        return Ok(None);
    }
    let path = repo.scratch(&target).join("agent/guest-agent");
    let trouble = trouble(&path).with_context(|| format!("{} is no program", path.display()))?;
    ensure!(trouble.is_none(), "{} {}", path.display(), trouble.unwrap_or_default());
    Ok(Some(path))
}

/// Why a guest could not start it.
fn trouble(path: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(path)?;
    let program = elf::ElfBytes::<elf::endian::AnyEndian>::minimal_parse(&bytes)?;
    let segments = program.segments().context("it has no segments")?;
    let loaded = segments.iter().any(|segment| segment.p_type == elf::abi::PT_INTERP);
    Ok(loaded.then(|| "is not static: it names a loader, and a guest's first root has none".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_refused() {
        // Tests are linked as everything else is.
        let this = std::env::current_exe().unwrap();
        assert!(trouble(&this).unwrap().unwrap().contains("not static"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("text"), "#!/bin/sh").unwrap();
        assert!(trouble(&folder.path().join("text")).is_err());
    }
}
