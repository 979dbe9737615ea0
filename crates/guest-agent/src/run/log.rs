//! What the workload said: the last of it, in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

/// The most bytes that are kept, with what each line takes beside its bytes.
const MOST: usize = 1 << 20;
/// What a line takes beside its bytes.
const BESIDE: usize = size_of::<Line>();
/// A longer line is kept in pieces of this size, as Docker does.
const LONGEST: usize = 16 << 10;
/// The longest line that is quoted in a message, in characters.
const QUOTED: usize = 300;
/// Shorter values are words of any language; to blank them would tell more than it hides.
const SHORTEST_SECRET: usize = 4;
const REDACTED: &str = "[redacted]";

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Out,
    Err,
}

/// A line, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) source: Source,
    pub(crate) unix_ms: u64,
    /// With its line end, when it has one.
    pub(crate) bytes: Bytes,
}

/// The last lines; its clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    ring: Arc<Mutex<Ring>>,
    changed: Arc<watch::Sender<()>>,
    /// Whether everything goes to the console as well.
    on_console: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    size: usize,
    /// The number of the first line that is kept; all lines are counted from the beginning.
    first: u64,
    /// Lines that have not ended, of each source.
    open: [Vec<u8>; 2],
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: Arc::default(), changed: Arc::new(watch::channel(()).0), on_console: Arc::default() }
    }
}

impl Log {
    /// Says everything on the console as well, from now on.
    pub(crate) fn copy_to_console(&self) {
        self.on_console.store(true, Ordering::Relaxed);
    }

    /// Takes what a source said.
    pub(crate) fn push(&self, source: Source, mut bytes: &[u8]) {
        if self.on_console.load(Ordering::Relaxed) {
            crate::console::copy(bytes);
        }
        {
            let mut ring = self.lock();
            while !bytes.is_empty() {
                let room = LONGEST - ring.open[source as usize].len();
                let near = &bytes[..bytes.len().min(room)];
                let end = near.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                let (piece, rest) = bytes.split_at(end.unwrap_or(near.len()));
                ring.open[source as usize].extend_from_slice(piece);
                bytes = rest;
                if end.is_some() || ring.open[source as usize].len() == LONGEST {
                    ring.close(source);
                }
            }
        }
        self.changed.send_replace(());
    }

    /// A source is at its end: what it began is a line too.
    pub(crate) fn end(&self, source: Source) {
        self.lock().close(source);
        self.changed.send_replace(());
    }

    /// Where the last so many lines begin; where all do when there is no number.
    pub(crate) fn tail(&self, lines: Option<u32>) -> u64 {
        let ring = self.lock();
        let kept = ring.lines.len() as u64;
        ring.first + kept.saturating_sub(lines.map_or(kept, u64::from))
    }

    /// Lines from this number on, of some 64 KiB, and the number after the last. Lines that are gone are passed over.
    pub(crate) fn read(&self, from: u64) -> (Vec<Line>, u64) {
        let ring = self.lock();
        let skip = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let mut size = 0;
        let fits = |line: &&Line| {
            size += line.bytes.len();
            size < 4 * LONGEST
        };
        let lines: Vec<_> = ring.lines.iter().skip(skip).take_while(fits).cloned().collect();
        let next = from.max(ring.first) + lines.len() as u64;
        (lines, next)
    }

    /// Tells when there is more.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The last line that says something, fit for a message: without these secrets, without control characters, not too long.
    pub(crate) fn last_line(&self, secrets: &[&str]) -> Option<String> {
        let mut secrets: Vec<_> = secrets
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.len() >= SHORTEST_SECRET)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let ring = self.lock();
        // A line of spaces says nothing; so many of them are not looked through.
        ring.lines.iter().rev().take(100).find_map(|line| {
            let mut text = String::from_utf8_lossy(&line.bytes).into_owned();
            for secret in &secrets {
                text = text.replace(*secret, REDACTED);
            }
            let clean: String = text.trim().chars().filter(|c| !c.is_control()).take(QUOTED).collect();
            (!clean.is_empty()).then_some(clean)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn close(&mut self, source: Source) {
        let open = std::mem::take(&mut self.open[source as usize]);
        if open.is_empty() {
            return;
        }
        let line = Line { source, unix_ms: now_ms(), bytes: open.into() };
        self.size += line.bytes.len() + BESIDE;
        self.lines.push_back(line);
        while self.size > MOST
            && let Some(gone) = self.lines.pop_front()
        {
            self.size -= gone.bytes.len() + BESIDE;
            self.first += 1;
        }
    }
}

/// The clock in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &Log, from: u64) -> String {
        let (lines, _) = log.read(from);
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    #[test]
    fn lines_are_put_together_per_source() {
        let log = Log::default();
        log.push(Source::Out, b"one\ntw");
        log.push(Source::Err, b"bad\n");
        log.push(Source::Out, b"o\nthree");
        assert_eq!(text(&log, 0), "one\nbad\ntwo\n");
        log.end(Source::Out);
        assert_eq!(text(&log, log.tail(Some(1))), "three");
        assert_eq!(text(&log, log.tail(None)), "one\nbad\ntwo\nthree");
        assert_eq!(log.tail(Some(100)), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_and_readers_catch_up() {
        let log = Log::default();
        let line = vec![b'x'; 5 * LONGEST];
        for _ in 0..100 {
            log.push(Source::Out, &line);
        }
        let ring = log.lock();
        assert!(ring.size <= MOST && ring.first > 0, "{} bytes", ring.size);
        assert!(ring.lines.iter().all(|line| line.bytes.len() <= LONGEST));
        let last = ring.first + ring.lines.len() as u64;
        drop(ring);
        let (mut next, mut read) = (0, 0);
        loop {
            let (lines, after) = log.read(next);
            if lines.is_empty() {
                break;
            }
            read += lines.len();
            next = after;
        }
        assert_eq!((next, read), (last, log.lock().lines.len()));
    }

    #[test]
    fn the_last_line_is_fit_for_a_message() {
        let log = Log::default();
        assert_eq!(log.last_line(&[]), None);
        log.push(Source::Out, b"bad key sk-canary-1 or sk-canary-1-longer, ok?\r\n\x1b\n  \n");
        let secrets = ["sk-canary-1", "sk-canary-1-longer\nsk-canary-2", "ok"];
        assert_eq!(log.last_line(&secrets).unwrap(), "bad key [redacted] or [redacted], ok?");
        log.push(Source::Err, &[b'y'; 1000]);
        log.end(Source::Err);
        assert_eq!(log.last_line(&[]).unwrap().len(), QUOTED);
    }
}
