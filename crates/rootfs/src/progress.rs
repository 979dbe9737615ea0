//! What is told while an image is converted.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A part of the work, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The image is brought from an engine or a registry.
    Fetch,
    /// The names of all layers are read, and the digests of those that are packed are checked.
    Scan,
    /// The file system is laid out.
    Layout,
    /// Content is written to its place, and the other digests are checked.
    Write,
    /// The file is synced, and its digest taken.
    Sync,
}

impl Stage {
    /// Its word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Scan => "scan",
            Self::Layout => "layout",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }
}

/// Is told how far the work is. Called from the thread that works, so it must not wait.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` is how many bytes it has, where that is known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// So many more bytes of the stage that began last are done.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
}

/// How long each stage took, beside whatever else is told.
pub struct Timed<'a> {
    inner: &'a dyn Progress,
    begun: Mutex<Vec<(Stage, Instant)>>,
}

impl std::fmt::Debug for Timed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timed").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl<'a> Timed<'a> {
    /// Tells `inner` as well.
    #[must_use]
    pub fn new(inner: &'a dyn Progress) -> Self {
        Self { inner, begun: Mutex::default() }
    }

    /// The stages until now, each to the beginning of the next.
    #[must_use]
    pub fn stages(self) -> Vec<(Stage, Duration)> {
        let begun = self.begun.into_inner().unwrap_or_default();
        let ends = begun.iter().skip(1).map(|&(_, at)| at).chain([Instant::now()]);
        begun.iter().zip(ends).map(|(&(stage, from), to)| (stage, to - from)).collect()
    }
}

impl Progress for Timed<'_> {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        if let Ok(mut begun) = self.begun.lock() {
            begun.push((stage, Instant::now()));
        }
        self.inner.begin(stage, total);
    }

    fn advance(&self, bytes: u64) {
        self.inner.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_ends_where_the_next_begins() {
        let timed = Timed::new(&Quiet);
        timed.begin(Stage::Scan, Some(3));
        timed.advance(3);
        timed.begin(Stage::Write, None);
        let stages: Vec<_> = timed.stages().into_iter().map(|(stage, _)| stage).collect();
        assert_eq!(stages, [Stage::Scan, Stage::Write]);
    }
}
