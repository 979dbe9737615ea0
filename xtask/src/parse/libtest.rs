//! `cargo test`, standard output and error in one stream.
//!
//! ```text
//!      Running tests/docker_faults.rs (target/debug/deps/docker_faults-0c9d…)     ← cargo, before each binary
//! running 3 tests
//! test every_step ... ignored, docker tier: needs an engine                       ← libtest, one line each
//! test others ... FAILED
//! test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out  ← libtest, at the end of each
//! ```

use crate::counts::Counts;

/// What one test binary printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binary {
    /// Such as `tests/http.rs`, `seats` for the unit tests of that crate, or `Doc-tests seats`.
    pub(crate) name: String,
    /// Its counts; none when it ended before it could say.
    pub(crate) counts: Option<Counts>,
    /// The tests that failed.
    pub(crate) failed: Vec<String>,
    /// The tests that were ignored, with their reasons.
    pub(crate) ignored: Vec<String>,
}

impl Binary {
    /// Whether its ignored tests belong to a tier of their own: docker, corpus, vm, firecracker, netns.
    pub(crate) fn has_own_tier(&self) -> bool {
        let tiers = ["tests/docker_", "tests/fc_", "tests/netns_", "tests/vm_"];
        tiers.iter().any(|tier| self.name.starts_with(tier)) || self.name == "tests/corpus.rs"
    }
}

/// The binaries of a run, in their order.
pub(crate) fn binaries(text: &str) -> Vec<Binary> {
    let mut found: Vec<Binary> = Vec::new();
    for line in text.lines() {
        if let Some(name) = header(line) {
            found.push(Binary { name, ..Binary::default() });
            continue;
        }
        let Some(current) = found.last_mut() else { continue };
        if let Some(counts) = result(line) {
            current.counts = Some(counts);
        } else if let Some(test) = ended_with(line, "FAILED") {
            current.failed.push(test.to_owned());
        } else if let Some(test) = ignored(line) {
            current.ignored.push(test);
        }
    }
    found
}

/// The tests that `-- --list` lists.
pub(crate) fn listed(text: &str) -> usize {
    text.lines().filter(|line| line.ends_with(": test")).count()
}

/// The name of the binary that begins with this line.
pub(crate) fn header(line: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with("Doc-tests ") {
        return Some(line.to_owned());
    }
    let (name, executable) = line.strip_prefix("Running ")?.rsplit_once(" (")?;
    let (folder, file) = executable.strip_suffix(')')?.rsplit_once('/')?;
    let (krate, _) = file.rsplit_once('-')?;
    folder.ends_with("deps").then(|| if name.starts_with("unittests ") { krate } else { name }.to_owned())
}

/// The counts of the binary that ends with this line.
pub(crate) fn result(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, numbers) = rest.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split(';') {
        let Some((number, word)) = part.trim().split_once(' ') else { continue };
        match word {
            "passed" => counts.passed = number.parse().ok()?,
            "failed" => counts.failed = number.parse().ok()?,
            "ignored" => counts.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

/// The test that ended with that word.
pub(crate) fn ended_with<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("test ")?.strip_suffix(word)?.strip_suffix(" ... ")
}

fn ignored(line: &str) -> Option<String> {
    let (test, word) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match word.strip_prefix("ignored")? {
        "" => Some(test.to_owned()),
        reason => Some(format!("{test}: {}", reason.strip_prefix(", ")?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "
    Finished `test` profile [unoptimized] target(s) in 0.21s
     Running unittests src/lib.rs (target/debug/deps/seats-11aa22bb33cc44dd)

running 2 tests
test ids::parsing ... ok
test ids::printing ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/docker_faults.rs (/elsewhere/target/debug/deps/docker_faults-99aa22bb33cc44dd)

running 3 tests
test every_step ... ignored, docker tier: needs an engine
test plain ... ok
test wrong ... FAILED

failures:

---- wrong stdout ----
thread 'wrong' panicked at src/lib.rs:1:1

failures:
    wrong

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.23s

error: test failed, to rerun pass `-p provider-docker --test docker_faults`
     Running tests/crash.rs (target/debug/deps/crash-99aa22bb33cc44dd)

running 1 test
error: test failed, to rerun pass `-p x --test crash`

Caused by:
  process didn't exit successfully: `/x/target/debug/deps/crash-99aa22bb33cc44dd` (signal: 6, SIGABRT)
   Doc-tests seats

running 2 tests
test crates/seats/src/lib.rs - SeatId (line 3) ... ok
test crates/seats/src/lib.rs - SeatId (line 9) ... ignored

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.30s
";

    fn counts(passed: usize, failed: usize, skipped: usize) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn each_binary_has_its_counts() {
        let found = binaries(RUN);
        let names: Vec<_> = found.iter().map(|binary| binary.name.as_str()).collect();
        assert_eq!(names, ["seats", "tests/docker_faults.rs", "tests/crash.rs", "Doc-tests seats"]);
        let found: Vec<_> = found.iter().map(|binary| binary.counts).collect();
        assert_eq!(found, [counts(2, 0, 0), counts(1, 1, 1), None, counts(1, 0, 1)]);
    }

    #[test]
    fn failed_and_ignored_tests_are_named() {
        let found = binaries(RUN);
        assert_eq!(found[1].failed, ["wrong"]);
        assert_eq!(found[1].ignored, ["every_step: docker tier: needs an engine"]);
        assert_eq!(found[3].ignored, ["crates/seats/src/lib.rs - SeatId (line 9)"]);
    }

    #[test]
    fn only_test_targets_of_that_name_are_the_docker_tier() {
        assert!(binaries(RUN)[1].has_own_tier());
        let unit = "     Running unittests src/lib.rs (target/debug/deps/docker_testbed-11aa22bb33cc44dd)";
        assert!(!binaries(unit)[0].has_own_tier());
    }

    #[test]
    fn what_a_test_says_is_no_result() {
        assert_eq!(result("  test result: ok. 2 passed; 0 failed"), None);
        assert_eq!(result("test result: nonsense"), None);
        assert_eq!(header("     Running the demo (again)"), None);
    }

    #[test]
    fn a_list_is_counted() {
        assert_eq!(listed("a::b: test\nc: test\n\n2 tests, 0 benchmarks\n\nd: benchmark\n"), 2);
    }
}
