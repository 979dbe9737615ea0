//! The summary of a report in the XML that many runners write: the attributes of its outermost element.

use crate::counts::Counts;

/// The counts that `<testsuites tests="15" failures="2" errors="0" skipped="1">` names.
pub(crate) fn counts(xml: &str) -> Option<Counts> {
    let (_, rest) = xml.split_once("<testsuites ")?;
    let (element, _) = rest.split_once('>')?;
    let number = |name: &str| -> Option<usize> {
        let (_, rest) = element.split_once(&format!("{name}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    let (failed, skipped) = (number("failures")? + number("errors")?, number("skipped")?);
    Some(Counts { passed: number("tests")?.checked_sub(failed + skipped)?, failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_element_counts() {
        let xml = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites errors="1" failures="2" skipped="3" tests="15" time="57.0">
  <testsuite name="schemathesis" errors="0" failures="9" skipped="0" tests="99"></testsuite>"#;
        assert_eq!(counts(xml), Some(Counts { passed: 9, failed: 3, skipped: 3 }));
    }

    #[test]
    fn nonsense_has_no_counts() {
        assert_eq!(counts(""), None);
        assert_eq!(counts("<testsuites tests=\"1\">"), None);
        assert_eq!(counts("<testsuites tests=\"1\" failures=\"2\" errors=\"0\" skipped=\"0\">"), None);
    }
}
