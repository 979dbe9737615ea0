//! Everything under its path, in one form whoever looked at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use super::Rows;

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Row {
    pub(super) kind: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) seconds: i64,
    pub(super) nanos: u32,
    /// The digest of the content, where a link leads (hexadecimal), or a device's number.
    pub(super) what: String,
    /// Names and values, hexadecimal.
    pub(super) xattrs: BTreeMap<String, String>,
    /// The first of several names of the same file, hexadecimal.
    pub(super) twin: String,
}

impl Row {
    /// The same as far as an engine's export has it: whole seconds, and of the attributes only capabilities.
    pub(super) fn as_exported(&self) -> Self {
        let mut row = Self { nanos: 0, ..self.clone() };
        row.xattrs.retain(|name, _| *name == hex(b"security.capability"));
        row
    }
}

#[derive(Deserialize)]
struct Line {
    path: String,
    #[serde(flatten)]
    row: Row,
}

pub(super) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus_shared/listing.py")
}

pub(super) fn of_tar(file: &Path) -> Rows {
    let output = Command::new("python3").arg("-IB").arg(script()).arg("tar").arg(file).output().unwrap();
    parsed(&output)
}

/// What `listing.py` printed.
pub(super) fn parsed(output: &Output) -> Rows {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines
        .map(|line| {
            let Line { path, row } = serde_json::from_str(line).unwrap();
            (unhex(&path), row)
        })
        .collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
