//! What a monitor and its guest say.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::log::Log;

/// The longest last line that is remembered, in bytes.
const LONGEST: usize = 400;

/// The reading end of a pipe that the monitor writes to.
#[derive(Debug)]
pub(super) struct Output {
    pipe: File,
    open: bool,
    last: LastLine,
    panic: Panic,
}

impl Output {
    /// One that is open.
    pub(super) fn new(pipe: impl Into<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.into();
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let (last, panic) = (LastLine::default(), Panic::default());
        Ok(Self { pipe: pipe.into(), open: true, last, panic })
    }

    /// What to wait for, while it is open.
    pub(super) fn to_poll(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.pipe.as_fd())
    }

    /// Copies what is there now, at most this many bytes.
    pub(super) fn copy(&mut self, log: &mut Log, most: usize) {
        let mut buffer = [0; 16 * 1024];
        let mut copied = 0;
        while self.open && copied < most {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(count) => {
                    let bytes = &buffer[..count];
                    copied += count;
                    log.write(bytes);
                    self.last.add(bytes);
                    self.panic.add(bytes);
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.open = false,
            }
        }
    }

    /// The last two lines that are not empty.
    pub(super) fn last_lines(&self) -> Option<String> {
        self.last.text()
    }

    /// Why a kernel that wrote this panicked, if it did.
    pub(super) fn panic(&self) -> Option<String> {
        self.panic.words.clone()
    }
}

/// Looks for the line that a kernel writes when it panics (`panic()`, kernel/panic.c).
#[derive(Debug, Default)]
struct Panic {
    begun: Vec<u8>,
    words: Option<String>,
}

impl Panic {
    const MARK: &str = "Kernel panic - not syncing: ";

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                if self.begun.len() < LONGEST {
                    self.begun.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.begun);
            // Kernels put a time before it; workloads, whose lines may be there as well, do not begin so.
            let said = line.split_once(Self::MARK);
            if let Some((_, words)) = said.filter(|(at, _)| at.starts_with('[') && at.ends_with("] ")) {
                self.words = Some(words.chars().filter(|char| !char.is_control()).collect());
            }
            self.begun.clear();
        }
    }
}

/// The last two lines of a stream: what a program gives up with is often followed by a hint.
#[derive(Debug, Default)]
struct LastLine {
    before: Vec<u8>,
    whole: Vec<u8>,
    begun: Vec<u8>,
}

impl LastLine {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                if !self.begun.trim_ascii().is_empty() {
                    self.before = std::mem::replace(&mut self.whole, std::mem::take(&mut self.begun));
                }
                self.begun.clear();
            } else if self.begun.len() < LONGEST {
                self.begun.push(byte);
            }
        }
    }

    fn text(&self) -> Option<String> {
        let lines = [&self.before, &self.whole, &self.begun].map(|line| line.trim_ascii());
        let said: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let last = said[said.len().saturating_sub(2)..].join(&b"; "[..]);
        let text: String = String::from_utf8_lossy(&last).chars().filter(|char| !char.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(parts: &[&str]) -> Option<String> {
        let mut line = LastLine::default();
        parts.iter().for_each(|part| line.add(part.as_bytes()));
        line.text()
    }

    #[test]
    fn a_panic_is_found_among_other_lines() {
        let found = |parts: &[&str]| {
            let mut panic = Panic::default();
            parts.iter().for_each(|part| panic.add(part.as_bytes()));
            panic.words
        };
        let end = "[    3.2] ---[ end Kernel panic - not syncing: no init ]---\n";
        assert_eq!(
            found(&["x\n[    3.1] Kernel pan", "ic - not syncing: no init\r\n"]).as_deref(),
            Some("no init")
        );
        assert_eq!(found(&[end, "[ 4.0] later\n"]), None);
        assert_eq!(found(&["learner: Kernel panic - not syncing: ha\n"]), None);
        assert_eq!(found(&["[ 1.0] all is well\n"]), None);
    }

    #[test]
    fn the_last_lines_that_say_something_are_kept() {
        assert_eq!(last(&[]), None);
        assert_eq!(last(&["one\ntw", "o\n\n  \n"]).as_deref(), Some("one; two"));
        assert_eq!(last(&["zero\none\nhalf"]).as_deref(), Some("one; half"));
        assert_eq!(last(&["a\x1b[1mb\r\n"]).as_deref(), Some("a[1mb"));
        assert_eq!(last(&[&"x".repeat(5000)]).map(|line| line.len()), Some(LONGEST));
    }
}
