//! The programs of monitors: where they are, and what they say that they are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long `--version` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a program says of its version.
#[derive(Debug)]
pub(super) struct Said {
    /// On its standard output.
    pub(super) output: String,
    /// There and on its standard error, cut to what can be told.
    pub(super) all: String,
}

/// The full path of a program: as it is when it has a folder, else from the `PATH`; nothing when it is not there.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Asks a program for its version.
pub(super) async fn version(program: &Path) -> io::Result<Said> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let Ok(output) = timeout(PATIENCE, command.output()).await else {
        return Ok(Said { output: String::new(), all: "nothing for half a minute".into() });
    };
    let output = output?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(Said { output: said, all: all.chars().take(200).collect() })
}
