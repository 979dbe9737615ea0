//! Workshops that belong to one test.

use std::fmt;
use std::ops::Deref;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use seats::WorkshopId;

/// A workshop that no other test uses. A test that fails leaves its objects behind in the middle of its work; this
/// removes them from this machine's engine then. A test that passes has shown that nothing is left.
#[derive(Debug)]
pub struct TestWorkshop(WorkshopId);

impl TestWorkshop {
    /// A new id: the given letter, this process, a number.
    ///
    /// # Panics
    /// When the letter is not one that a workshop id may have.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a mistake in a test")]
    pub fn new(letter: char) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("{letter}{}-{number}", std::process::id()).parse().unwrap())
    }
}

impl Deref for TestWorkshop {
    type Target = WorkshopId;

    fn deref(&self) -> &WorkshopId {
        &self.0
    }
}

impl fmt::Display for TestWorkshop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Drop for TestWorkshop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let label = format!("label=clarateach.workshop={}", self.0);
        for (list, remove) in [
            (vec!["ps", "-aq"], vec!["rm", "-f"]),
            (vec!["volume", "ls", "-q"], vec!["volume", "rm"]),
            (vec!["network", "ls", "-q"], vec!["network", "rm"]),
        ] {
            let Ok(listed) = Command::new("docker").args(list).args(["--filter", &label]).output() else {
                return;
            };
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            if !ids.trim().is_empty() {
                drop(Command::new("docker").args(remove).args(ids.split_whitespace()).output());
            }
        }
    }
}
