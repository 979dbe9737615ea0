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
    Ok(match search(&bench.output)? {
        None => Report::skipped(1, "no other tier ran"),
        Some(trouble) if trouble.is_empty() => Report::one(None),
        Some(trouble) => Report::one(Some(trouble.join("\n"))),
    })
}

/// What is wrong with the output in this folder; nothing when there is no output.
fn search(folder: &Path) -> Result<Option<Vec<String>>> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    if files.is_empty() {
        return Ok(None);
    }
    files.sort();
    let mut trouble = Vec::new();
    for file in &files {
        let mut bytes = Vec::new();
        std::fs::File::open(file)?.read_to_end(&mut bytes)?;
        let told = lines_with(&bytes, MARKER).into_iter();
        trouble.extend(told.map(|line| format!("an api key was printed at {}:{line}", file.display())));
    }
    // Without the logs of the services that they start, silence would mean nothing.
    for tier in ["unit", "docker", "vm"] {
        let processes = folder.join(format!("{tier}-processes"));
        let kept = files.iter().any(|file| file.starts_with(&processes));
        if folder.join(format!("{tier}.log")).exists() && !kept {
            trouble.push(format!("the {tier} tier kept no log of a service"));
        }
    }
    Ok(Some(trouble))
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

    #[test]
    fn every_file_is_read_and_the_logs_of_services_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let search = || search(folder.path()).unwrap();
        assert_eq!(search(), None);
        put("unit.log", "test ... ok\n");
        assert_eq!(search().unwrap(), ["the unit tier kept no log of a service"]);
        std::fs::create_dir(folder.path().join("unit-processes")).unwrap();
        put("unit-processes/service-1-0.log", "{}\n");
        assert!(search().unwrap().is_empty());
        put("unit-processes/service-1-1.log", &format!("{{}}\n{{\"key\":\"{MARKER}x\"}}\n"));
        let found = search().unwrap();
        assert!(found.len() == 1 && found[0].ends_with("service-1-1.log:2"), "{found:?}");
        assert!(!found[0].contains(MARKER));
    }
}
