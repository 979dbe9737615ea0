//! The disk below a folder, and what the whole machine writes to it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::child::output;

/// What `Documentation/block/stat.rst` of the kernel counts in, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// A disk, where the file system has one.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The kind of file system.
    pub(super) kind: String,
    stat: PathBuf,
}

impl Disk {
    /// Finds it.
    pub(super) async fn below(folder: &Path) -> Result<Self> {
        let table = output(Command::new("df").arg("--output=fstype").arg(folder)).await?;
        let numbers = output(Command::new("stat").arg("--format=%Hd:%Ld").arg(folder)).await?;
        let stat = Path::new("/sys/dev/block").join(numbers.trim()).join("stat");
        let kind = table.lines().last().unwrap_or_default().trim().to_owned();
        Ok(Self { kind, stat })
    }

    /// Bytes written to it until now, by anybody. `None` where the file system is on no single disk.
    pub(super) fn written(&self) -> Result<Option<u64>> {
        let Ok(stat) = std::fs::read_to_string(&self.stat) else { return Ok(None) };
        let written = written_in(&stat);
        Ok(Some(written.with_context(|| format!("{} is not as expected: {stat}", self.stat.display()))?))
    }
}

/// The seventh field: sectors written.
fn written_in(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_become_bytes() {
        let stat = " 4471 2313 383738 1325 8843 11310 222336 9182 0 5068 10508 0 0 0 0 0 0\n";
        assert_eq!(written_in(stat), Some(222_336 * 512));
        assert_eq!(written_in("1 2 3"), None);
    }
}
