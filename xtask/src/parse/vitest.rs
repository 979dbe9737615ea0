//! `vitest --reporter=json`: the shape of jest's results.

use serde_json::Value;

use crate::counts::Counts;

/// The counts, what failed, and what was skipped; none when the report is not whole.
pub(crate) fn results(json: &str) -> Option<(Counts, Vec<String>, Vec<String>)> {
    let report: Value = serde_json::from_str(json).ok()?;
    let number = |name: &str| report[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let counts = Counts {
        passed: number("numPassedTests")?,
        failed: number("numFailedTests")?,
        skipped: number("numPendingTests")? + number("numTodoTests").unwrap_or(0),
    };
    let (mut failures, mut skips) = (Vec::new(), Vec::new());
    for file in report["testResults"].as_array()? {
        for test in file["assertionResults"].as_array()? {
            let name = test["fullName"].as_str().unwrap_or("a test without a name");
            match test["status"].as_str()? {
                "failed" => {
                    let why = test["failureMessages"][0].as_str().unwrap_or_default();
                    failures.push(format!("{name}: {}", why.lines().next().unwrap_or_default()));
                }
                "pending" | "skipped" | "todo" => skips.push(name.to_owned()),
                _ => {}
            }
        }
    }
    Some((counts, failures, skips))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_counts_once() {
        let json = r#"{"numTotalTests": 4, "numPassedTests": 1, "numFailedTests": 1, "numPendingTests": 1,
            "numTodoTests": 1, "success": false, "testResults": [{"assertionResults": [
              {"fullName": "a", "status": "passed", "failureMessages": []},
              {"fullName": "b", "status": "failed", "failureMessages": ["Error: x\n    at y"]},
              {"fullName": "c", "status": "skipped", "failureMessages": []},
              {"fullName": "d", "status": "todo", "failureMessages": []}]}]}"#;
        let (counts, failures, skips) = results(json).unwrap();
        assert_eq!(counts, Counts { passed: 1, failed: 1, skipped: 2 });
        assert_eq!((failures, skips), (vec!["b: Error: x".to_owned()], vec!["c".to_owned(), "d".to_owned()]));
    }

    #[test]
    fn half_a_report_has_no_result() {
        assert_eq!(results(""), None);
        assert_eq!(results(r#"{"numPassedTests": 1}"#), None);
    }
}
