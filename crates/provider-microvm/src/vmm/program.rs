//! The programs of monitors: where they are, and what they say that they are.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
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

/// A file as it was: device, inode, size, time of a change in seconds and nanoseconds.
pub(super) type FileIdentity = (PathBuf, u64, u64, u64, i64, i64);

/// A file as it is now, with its mode and its owner; nothing when it is not there.
fn file_identity(path: &Path) -> Option<FileIdentity> {
    let data = std::fs::metadata(path).ok()?;
    Some((path.to_owned(), data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
}

/// A file as what is in it is now: jails link it and unlink it with each seat, which changes its `ctime` (inode(7)).
pub(super) fn content_identity(path: &Path) -> io::Result<FileIdentity> {
    let data = std::fs::metadata(path)?;
    Ok((path.to_owned(), data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

/// What was found out about a program, as long as it is the same file.
#[derive(Debug)]
pub(super) struct Known<T>(Mutex<Option<(FileIdentity, T)>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Known<T> {
    /// What is known of this very file, or what is found out now.
    pub(super) async fn or<E>(
        &self,
        program: &Path,
        find_out: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut known = self.0.lock().await;
        let now = file_identity(program);
        match (&*known, &now) {
            (Some((then, what)), Some(now)) if then == now => Ok(*what),
            _ => {
                let what = find_out.await?;
                *known = now.map(|now| (now, what));
                Ok(what)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_asked_again_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "one").unwrap();
        let known = Known::default();
        let ask = async |answer: Result<u8, &'static str>| known.or(&program, async { answer }).await;
        assert_eq!(ask(Err("broken")).await, Err("broken"));
        assert_eq!(ask(Ok(1)).await, Ok(1));
        assert_eq!(ask(Err("broken")).await, Ok(1));
        std::fs::write(&program, "another").unwrap();
        assert_eq!(ask(Ok(2)).await, Ok(2));
        std::fs::remove_file(&program).unwrap();
        assert_eq!(ask(Err("gone")).await, Err("gone"));
    }
}
