//! `python3 -m unittest -v`.
//!
//! ```text
//! test_stop (test_images.WorkspaceTest.test_stop) ... skipped 'no image clarateach-workspace on a reachable engine'
//! Ran 12 tests in 3.4s
//!
//! FAILED (failures=1, errors=1, skipped=2)        or  OK  or  OK (skipped=2)
//! ```

use crate::counts::Counts;

/// The counts, and why tests were skipped; none when the run did not get to its end.
pub(crate) fn results(text: &str) -> Option<(Counts, Vec<String>)> {
    let ran: usize = text.lines().rev().find_map(|line| {
        line.strip_prefix("Ran ")?.split_once(" test").and_then(|(number, _)| number.parse().ok())
    })?;
    let verdict = text.lines().rev().find(|line| {
        ["OK", "FAILED", "NO TESTS RAN"].iter().any(|word| line.strip_prefix(word).is_some_and(closes))
    })?;
    let number = |word: &str| -> usize {
        let inner = verdict.split_once(" (").map_or("", |(_, inner)| inner.trim_end_matches(')'));
        let pairs = inner.split(", ").filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == word).filter_map(|(_, number)| number.parse::<usize>().ok()).sum()
    };
    let failed = number("failures") + number("errors") + number("unexpected successes");
    let skipped = number("skipped");
    let counts = Counts { passed: ran.saturating_sub(failed + skipped), failed, skipped };
    let reasons = text.lines().filter_map(|line| {
        let (test, reason) = line.split_once(" ... skipped ")?;
        let test = test.split_whitespace().next()?;
        Some(format!("{test}: {}", reason.trim_matches(['\'', '"'])))
    });
    Some((counts, reasons.collect()))
}

fn closes(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(" (")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn all_is_well() {
        let text = "test_a (x.T.test_a) ... ok\n\nRan 7 tests in 1.234s\n\nOK\n";
        assert_eq!(results(text), Some((counts(7, 0, 0), vec![])));
        assert_eq!(results("Ran 1 test in 0.1s\n\nOK\n").unwrap().0, counts(1, 0, 0));
    }

    #[test]
    fn failures_errors_and_skips_are_told_apart() {
        let text = "test_a (x.T.test_a) ... skipped 'no image'\nOK, says a test\nRan 7 tests in 1s\n\n\
                    FAILED (failures=1, errors=2, skipped=1, expected failures=1)\n";
        assert_eq!(results(text), Some((counts(3, 3, 1), vec!["test_a: no image".to_owned()])));
        assert_eq!(results("Ran 2 tests in 1s\n\nOK (skipped=2)\n").unwrap().0, counts(0, 0, 2));
    }

    #[test]
    fn a_run_that_broke_off_has_no_result() {
        assert_eq!(results("Traceback (most recent call last):\nMemoryError\n"), None);
        assert_eq!(results("Ran 3 tests in 1s\n"), None);
    }
}
