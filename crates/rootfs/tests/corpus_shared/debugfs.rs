//! What `debugfs` reads in a file system: everything out of the ordinary, and a sample of the rest.

use std::path::Path;

use super::listing::{Row, shown};
use super::{Rows, tool};

/// How many ordinary paths are looked at.
const SAMPLE: usize = 500;

pub(super) fn agrees(file: &Path, rows: &Rows) {
    let step = rows.len().div_ceil(SAMPLE);
    let special = |row: &Row| {
        row.mode > 0o777
            || !matches!(&*row.kind, "file" | "folder" | "symlink")
            || !row.twin.is_empty()
            || !row.xattrs.is_empty()
    };
    let looked: Vec<_> = rows
        .iter()
        .enumerate()
        .filter(|(number, (path, row))| {
            (number % step == 0 || special(row)) && !path.contains(&b'"') && !path.contains(&b'\n')
        })
        .map(|(_, found)| found)
        .collect();
    let commands = tempfile::NamedTempFile::new().unwrap();
    // It takes any bytes as they are.
    let lines = looked.iter().map(|(path, _)| [b"stat \"/", path.as_slice(), b"\"\n"].concat());
    let text = lines.collect::<Vec<_>>().concat();
    std::fs::write(commands.path(), text).unwrap();
    let output = tool("debugfs").arg("-f").arg(commands.path()).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<_> = text.split("debugfs: stat ").skip(1).collect();
    assert_eq!(answers.len(), looked.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((path, row), answer) in looked.into_iter().zip(answers) {
        agree(path, row, answer, rows);
    }
}

fn agree(path: &[u8], row: &Row, answer: &str, rows: &Rows) {
    let path = shown(path);
    let after = |label: &str| {
        let (_, rest) = answer.split_once(label).unwrap_or_else(|| panic!("/{path}: no {label} in {answer}"));
        rest.trim_start()
    };
    let word = |label: &str| after(label).split_whitespace().next().unwrap_or_default().to_owned();
    let kind = match &*row.kind {
        "file" => "regular",
        "folder" => "directory",
        "char" => "character special",
        "block" => "block special",
        "fifo" => "FIFO",
        other => other,
    };
    assert!(after("Type: ").starts_with(kind), "/{path}: {answer}");
    assert_eq!(u32::from_str_radix(&word("Mode: "), 8).unwrap(), row.mode, "/{path}: {answer}");
    // It prints owners as signed numbers.
    let number = |label: &str| word(label).parse::<i64>().unwrap() & 0xffff_ffff;
    assert_eq!(number("User: "), i64::from(row.uid), "/{path}: {answer}");
    assert_eq!(number("Group: "), i64::from(row.gid), "/{path}: {answer}");
    if row.kind != "folder" {
        let names =
            rows.values().filter(|other| !row.twin.is_empty() && other.twin == row.twin).count().max(1);
        assert_eq!(word("Links: "), names.to_string(), "/{path}: {answer}");
    }
    if matches!(&*row.kind, "char" | "block") {
        let (major, minor) = row.what.split_once(':').unwrap();
        let expected = format!("{major:0>2}:{minor:0>2}");
        assert_eq!(word("Device major/minor number: "), expected, "/{path}: {answer}");
    }
    for name in row.xattrs.keys() {
        let name: Vec<u8> =
            (0..name.len()).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).unwrap()).collect();
        assert!(answer.contains(&shown(&name)), "/{path}: {answer}");
    }
}
