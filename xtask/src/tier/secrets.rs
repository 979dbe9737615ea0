//! No api key in anything that the tiers printed: tests and services, logs and reports.
//!
//! Every test that needs a key uses one that begins with the marker.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Bench;
use crate::counts::Report;

/// In pieces, so that this file would not find itself.
pub(super) const MARKER: &str = concat!("sk-", "canary-");

pub(super) fn run(bench: &Bench<'_>) -> Result<Report> {
    let mut files = Vec::new();
    find(&bench.output, &mut files)?;
    if files.is_empty() {
        return Ok(Report::skipped(1, "no other tier ran"));
    }
    let mut told = Vec::new();
    for file in &files {
        let mut bytes = Vec::new();
        std::fs::File::open(file)?.read_to_end(&mut bytes)?;
        told.extend(lines_with(&bytes, MARKER).into_iter().map(|line| format!("{}:{line}", file.display())));
    }
    Ok(Report::one((!told.is_empty()).then(|| format!("an api key was printed at\n{}", told.join("\n")))))
}

/// The numbers of the lines that hold the marker; never the lines themselves.
fn lines_with(bytes: &[u8], marker: &str) -> Vec<usize> {
    let holds = |line: &[u8]| line.windows(marker.len()).any(|part| part == marker.as_bytes());
    bytes
        .split(|byte| *byte == b'\n')
        .zip(1..)
        .filter(|(line, _)| holds(line))
        .map(|(_, number)| number)
        .collect()
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_in_any_bytes() {
        let text = [b"ok\n\xff\xfe key=".as_slice(), MARKER.as_bytes(), b"1\n\n"].concat();
        assert_eq!(lines_with(&text, MARKER), [2]);
        assert!(lines_with(b"sk-canar\ny-", MARKER).is_empty());
    }
}
