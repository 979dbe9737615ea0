//! The verdicts of a whole run.

use std::fmt;

use crate::Verdict;

/// One check and how it ended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The check's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
}

/// Every check and how it ended. `Display` is a table for people, with the counts in its last line.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which provider was checked.
    pub provider: String,
    /// The checks in their order.
    pub entries: Vec<Entry>,
}

impl Report {
    /// How many ended with this word (see [`Verdict::word`]).
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.entries.iter().filter(|entry| entry.verdict.word() == word).count()
    }

    /// Whether none failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.count("failed") == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
        for Entry { name, verdict } in &self.entries {
            let reason = verdict.reason().unwrap_or_default();
            let line = format!("{name:width$}  {word:7}  {reason}", word = verdict.word());
            writeln!(f, "{}", line.trim_end())?;
        }
        let [passed, failed, skipped] = ["passed", "failed", "skipped"].map(|word| self.count(word));
        write!(f, "conformance of {}: {passed} passed, {failed} failed, {skipped} skipped", self.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_skipped_apart_from_passed() {
        let entry = |name, verdict| Entry { name, verdict };
        let report = Report {
            provider: "sim".into(),
            entries: vec![
                entry("one", Verdict::Passed),
                entry("three", Verdict::Skipped("no engine".into())),
                entry("two", Verdict::Failed("it leaks".into())),
            ],
        };
        assert!(!report.is_clean());
        assert_eq!(
            report.to_string(),
            "one    passed\nthree  skipped  no engine\ntwo    failed   it leaks\n\
             conformance of sim: 1 passed, 1 failed, 1 skipped"
        );
    }
}
