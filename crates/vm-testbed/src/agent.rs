//! The guest agent as guests have it: a static program.

use std::path::{Path, PathBuf};

use crate::BootError;

/// Where `cargo xtask agent` puts it, below the build folder.
fn built() -> String {
    format!("{}-unknown-linux-gnu/agent/guest-agent", std::env::consts::ARCH)
}

/// The static guest agent that `cargo xtask agent` built, or the one that `CLARATEACH_AGENT` names.
///
/// # Errors
/// [`BootError::Missing`] when there is none.
pub fn agent() -> Result<PathBuf, BootError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let target = || set("CARGO_TARGET_DIR").unwrap_or_else(|| workspace().join("target"));
    let path = set("CLARATEACH_AGENT").unwrap_or_else(|| target().join(built()));
    let missing =
        || BootError::Missing(format!("no guest agent at {}: run cargo xtask agent", path.display()));
    if path.is_file() { Ok(path) } else { Err(missing()) }
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
