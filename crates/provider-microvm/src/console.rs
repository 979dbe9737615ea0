//! What a guest said last on its console.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How much of the end of a log is read.
const TAIL: u64 = 4096;
/// The longest line worth showing, in characters.
const LONGEST: usize = 300;

/// The last line that says something, without control characters; nothing when there is none. That it restarts now, as a kernel always says at the end
/// (`kernel_restart()`, kernel/reboot.c), says nothing.
pub(crate) fn last_line(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let start = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let clean =
        |line: &str| -> String { line.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect() };
    Ok(text.lines().rev().map(clean).find(|line| !line.is_empty() && !is_restart(line)))
}

/// Kernels put a time before it.
fn is_restart(line: &str) -> bool {
    let said = line.split_once("] ").filter(|(at, _)| at.starts_with('['));
    said.is_some_and(|(_, words)| words.starts_with("reboot: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_fit_for_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        assert_eq!(last_line(&path).unwrap(), None);
        std::fs::write(&path, format!("{}\r\n[ 1.0] \u{1b}panic\u{7}\r\n \n", "x".repeat(10_000))).unwrap();
        assert_eq!(last_line(&path).unwrap().as_deref(), Some("[ 1.0] panic"));
        let ended = "agent: [1] reboot: no\r\n[    2.345678] reboot: Restarting system\r\n[    2.4] reboot: machine restart\r\n";
        std::fs::write(&path, ended).unwrap();
        assert_eq!(last_line(&path).unwrap().as_deref(), Some("agent: [1] reboot: no"));
        std::fs::write(&path, "\n\n").unwrap();
        assert_eq!(last_line(&path).unwrap(), None);
    }
}
