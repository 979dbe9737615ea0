//! Everything that a terminal's user left behind.

use std::fs;

use guest_protocol::Signal;

use super::reap::send;

/// Ends all processes of a session: a shell's jobs have groups of their own.
pub(crate) fn end_session(session: u32) {
    for pid in members(session) {
        // It may have ended meanwhile.
        let _ = send(pid, Signal::KILL, false);
    }
}

fn members(session: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        session_of(&stat) == Some(session)
    })
    .collect()
}

/// The session in a line of `/proc/PID/stat` (proc(5)): the fourth field after the name, which may have anything in it.
fn session_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_anything_in_them() {
        assert_eq!(session_of("7 (a) b (c)) S 1 7 42 0 -1"), Some(42));
        assert_eq!(session_of(""), None);
    }
}
