//! Whether an entry still is what was made.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::lock::Lock;
use super::{EntryName, ROOTFS, State, Store, StoreError};
use crate::Digest;
use crate::digest::Hashing;

/// What was found of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the file has the digest that it was made with, or what is wrong.
    pub digest: Check,
    /// Whether `e2fsck -fn` finds nothing.
    pub file_system: Check,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self.digest, Check::Wrong(_)) && !matches!(self.file_system, Check::Wrong(_))
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing is wrong.
    Fine,
    /// This is.
    Wrong(String),
    /// It could not be made, and why.
    Skipped(String),
}

impl Store {
    /// Reads an entry as a whole; nothing when it is not there. Nobody removes it meanwhile.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn verify(&self, name: &EntryName) -> Result<Option<Verdict>, StoreError> {
        let _lock = Lock::shared(&self.lock_path(name))?;
        let Some(entry) = self.look(name)? else { return Ok(None) };
        let image = match entry.state {
            State::Whole(image) => image,
            State::Damaged(why) | State::Newer(why) => {
                let file_system = Check::Skipped("its document cannot be used".into());
                return Ok(Some(Verdict { digest: Check::Wrong(why), file_system }));
            }
        };
        let rootfs = self.entry(name).join(ROOTFS);
        let found = digest(&rootfs).map_err(|why| StoreError::io(&rootfs, why))?;
        let digest = if found == image.sha256 {
            Check::Fine
        } else {
            Check::Wrong(format!("it should be {} and is {found}", image.sha256))
        };
        Ok(Some(Verdict { digest, file_system: checked(&rootfs) }))
    }
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut reader = Hashing::new(File::open(path)?);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.finish().0)
}

/// What `e2fsck` says, without changing anything (e2fsck(8): 0 is no errors).
fn checked(path: &Path) -> Check {
    let run = |program| Command::new(program).arg("-fn").arg(path).stdin(Stdio::null()).output();
    // Where only root's search path leads, it may be all the same.
    let output = match run("e2fsck") {
        Err(why) if why.kind() == io::ErrorKind::NotFound => run("/sbin/e2fsck"),
        output => output,
    };
    match output {
        Ok(output) if output.status.success() => Check::Fine,
        Ok(output) => {
            let text = [&*output.stdout, b"\n", &*output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with("Pass ") && !line.starts_with("e2fsck "))
                .take(3)
                .collect();
            let why = if lines.is_empty() { output.status.to_string() } else { lines.join("; ") };
            Check::Wrong(why)
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Check::Skipped("e2fsck is not installed; the package is called e2fsprogs".into())
        }
        Err(why) => Check::Skipped(format!("e2fsck cannot be run: {why}")),
    }
}
