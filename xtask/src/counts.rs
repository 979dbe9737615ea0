//! How many tests passed, failed and could not run.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// Passed, failed, skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran and were right.
    pub(crate) passed: usize,
    /// Ran and were wrong, or should have run and did not.
    pub(crate) failed: usize,
    /// Could not run here.
    pub(crate) skipped: usize,
}

impl Counts {
    /// One test.
    pub(crate) fn one(passed: bool) -> Self {
        if passed { Self { passed: 1, ..Self::default() } } else { Self { failed: 1, ..Self::default() } }
    }

    /// Tests that could not run.
    pub(crate) fn skipped(number: usize) -> Self {
        Self { skipped: number, ..Self::default() }
    }

    /// All of them.
    pub(crate) fn all(self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The plain closing line that CI reads.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// What became of one tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The tier.
    pub(crate) name: &'static str,
    /// Its tests.
    pub(crate) counts: Counts,
    /// How long it took.
    pub(crate) took: Duration,
    /// What failed, and why.
    pub(crate) failures: Vec<String>,
    /// What could not run, and why.
    pub(crate) skips: Vec<String>,
}

impl Report {
    /// A tier that could not run, by the number of tests that it has.
    pub(crate) fn skipped(number: usize, why: impl Into<String>) -> Self {
        Self { counts: Counts::skipped(number), skips: vec![why.into()], ..Self::default() }
    }

    /// A tier that is one test: right, or wrong for a reason.
    pub(crate) fn one(trouble: Option<String>) -> Self {
        Self {
            counts: Counts::one(trouble.is_none()),
            failures: trouble.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds one failure that no count knows of yet.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        self.counts.failed += 1;
        self.failures.push(why.into());
    }
}
