//! Node.js, as far as this host has one: it is never installed from here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::child::{self, installed};

/// The oldest version that the portal is run with here; older ones take no file of settings.
const OLDEST: (u32, u32) = (20, 6);

/// Why the portal cannot run here, if it cannot.
pub(crate) async fn trouble() -> Option<String> {
    if !installed("node") || !installed("npm") {
        return Some(format!("Node.js {}.{} or later with npm is not installed", OLDEST.0, OLDEST.1));
    }
    let version = child::output(Command::new("node").arg("--version")).await.unwrap_or_default();
    match parsed(version.trim()) {
        Some(version) if version >= OLDEST => None,
        _ => Some(format!(
            "Node.js is {}, and the portal needs {}.{} or later",
            version.trim(),
            OLDEST.0,
            OLDEST.1
        )),
    }
}

/// Whether the packages of a folder's lock file are installed.
pub(crate) fn is_installed(home: &Path) -> bool {
    let lock = std::fs::read(home.join("package-lock.json")).ok();
    lock.is_some() && std::fs::read(stamp(home)).ok() == lock
}

/// Writes down that they are. `npm ci` removes the note with everything else that was installed.
pub(crate) fn note_installed(home: &Path) -> Result<()> {
    std::fs::copy(home.join("package-lock.json"), stamp(home)).context("cannot note what npm installed")?;
    Ok(())
}

fn stamp(home: &Path) -> PathBuf {
    home.join("node_modules/.installed-lock.json")
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parsed("v20.20.2"), Some((20, 20)));
        assert!(parsed("v9.9.9").unwrap() < OLDEST && parsed("v100.0.0").unwrap() > OLDEST);
        assert_eq!(parsed("20.1"), None);
        assert_eq!(parsed(""), None);
    }
}
