//! What a turn made, looked at after its time.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::child::path;
use super::way::{FILE, Way};
use super::weigh::mib;
use crate::child::output;
use crate::stop::Stop;

/// The exit code of `e2fsck -n` for a file system in which there is nothing to mend (`e2fsck(8)`).
const CLEAN: i32 = 0;

/// A file system.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Made {
    pub(super) size_mib: f64,
    /// What it takes of the disk.
    pub(super) allocated_mib: f64,
    /// Of ours only.
    pub(super) sha256: Option<String>,
    /// Whether `e2fsck -fn` has nothing to say.
    pub(super) clean: bool,
    /// Milliseconds per stage; of ours only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) stages_ms: BTreeMap<String, f64>,
}

/// What the converter prints, as far as it is of interest here.
#[derive(Debug, Deserialize)]
struct Told {
    size: u64,
    sha256: String,
    /// Milliseconds.
    stages: BTreeMap<String, f64>,
}

impl Made {
    /// Looks at the file in the turn's folder; `printed` is what the converter said. What it said of the file has to
    /// be true.
    pub(super) async fn look(way: Way, folder: &Path, printed: &str, stop: &Stop) -> Result<Option<Self>> {
        if !way.makes_a_file() {
            return Ok(None);
        }
        let file = folder.join(FILE);
        let seen = std::fs::metadata(&file).with_context(|| format!("{way}: there is no {FILE}"))?;
        let mut check = Command::new("e2fsck");
        check.env("PATH", path()).arg("-fn").arg(&file);
        let checked = stop.or(async { Ok(check.kill_on_drop(true).output().await?) }).await;
        let clean = checked.context("cannot run e2fsck")?.status.code() == Some(CLEAN);
        let mut made = Self {
            size_mib: mib(seen.len()),
            allocated_mib: mib(seen.blocks() * 512),
            sha256: None,
            clean,
            stages_ms: BTreeMap::new(),
        };
        if way.is_ours() {
            let told: Told = serde_json::from_str(printed)
                .with_context(|| format!("{way}: what it printed is not as expected: {}", printed.trim()))?;
            let sum = sha256(&file, stop).await?;
            let told_sum = told.sha256.strip_prefix("sha256:").unwrap_or(&told.sha256);
            ensure!(sum == told_sum, "{way}: it says that the file is {told_sum}, and it is {sum}");
            ensure!(
                seen.len() == told.size,
                "{way}: it says {} bytes, and there are {}",
                told.size,
                seen.len()
            );
            made.sha256 = Some(sum);
            made.stages_ms = told.stages;
        }
        Ok(Some(made))
    }
}

/// The digest of a file, as another program finds it.
pub(super) async fn sha256(file: &Path, stop: &Stop) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg("--binary").arg(file).kill_on_drop(true);
    let line = stop.or(output(&mut command)).await?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}
