//! Many tests in an outer guest, whose kernel may fail before the last of them.

use std::process::Command;
use std::time::Duration;

use super::{Outer, OuterRun, TRIES, has_failed, how};
use crate::BootError;

/// The exit code of a program of libtest in which a test failed.
const FAILURE: i32 = 101;

impl Outer {
    /// Runs these tests, by their full names, of a program that libtest made, as [`Outer::run`] does. When the kernel below them fails, those that have not ended
    /// by then run in a new guest. What is said is that of all guests, and the code is no success when a test failed in any of them.
    ///
    /// # Errors
    /// As [`Outer::run`], and when a few guests one after the other fail before any further test has ended.
    pub fn run_tests(
        &self,
        program: &Command,
        tests: &[String],
        limit: Duration,
        mut tell: impl FnMut(&str),
    ) -> Result<OuterRun, BootError> {
        let (mut left, mut before, mut tries) = (tests.to_vec(), String::new(), TRIES);
        loop {
            match self.once(&only(program, &left), limit, &mut tell) {
                Ok(run) => {
                    let code = if failed(&before).next().is_some() { FAILURE } else { run.code };
                    return Ok(OuterRun { code, said: before + &run.said, ..run });
                }
                Err(BootError::Ended { console, said, stands_still })
                    if stands_still || has_failed(&console) =>
                {
                    tell(&format!("{}:", how(stands_still)));
                    console.tail().lines().for_each(&mut tell);
                    let ended: Vec<_> = passed(&said).chain(failed(&said)).collect();
                    tries = if left.iter().any(|test| ended.contains(&test.as_str())) {
                        TRIES
                    } else {
                        tries - 1
                    };
                    before.push_str(&said);
                    if tries == 0 {
                        return Err(BootError::Ended { console, said: before, stands_still });
                    }
                    // The last one runs again where all have ended: it takes a program that ends to say so.
                    let last = left.last().cloned();
                    left.retain(|test| !ended.contains(&test.as_str()));
                    left.extend(last.filter(|_| left.is_empty()));
                    tell(&format!(
                        "{} have failed; the {} that have not ended, in a new one:",
                        failed(&before).count(),
                        left.len()
                    ));
                }
                Err(why) => return Err(why),
            }
        }
    }
}

/// The program for these tests alone.
fn only(program: &Command, tests: &[String]) -> Command {
    let mut only = Command::new(program.get_program());
    only.args(program.get_args()).arg("--exact").args(tests);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => only.env(name, value),
            None => only.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        only.current_dir(folder);
    }
    only
}

/// The tests that have passed, by what libtest said of several at once.
fn passed(said: &str) -> impl Iterator<Item = &str> {
    ended(said, " ... ok")
}

/// Those that have failed.
fn failed(said: &str) -> impl Iterator<Item = &str> {
    ended(said, " ... FAILED")
}

fn ended<'a>(said: &'a str, how: &'static str) -> impl Iterator<Item = &'a str> {
    said.lines().filter_map(move |line| line.strip_prefix("test ")?.strip_suffix(how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_ended_have_passed_or_failed() {
        let said = "running 4 tests\ntest a::one ... ok\ntest a::two has been running for over 60 seconds\n\
                    test a::two ... FAILED\ntest a::three ... ignored\ntest a::four ... ok\ntest result: ok. 2 passed\n";
        assert_eq!(passed(said).collect::<Vec<_>>(), ["a::one", "a::four"]);
        assert_eq!(failed(said).collect::<Vec<_>>(), ["a::two"]);
    }

    #[test]
    fn the_program_is_the_same_but_for_the_tests() {
        let mut program = Command::new("suite");
        program.args(["--ignored", "--test-threads=2"]).env("A", "1").current_dir("/tmp");
        let only = only(&program, &["a::one".into(), "a::two".into()]);
        assert_eq!(only.get_program(), "suite");
        let arguments: Vec<_> = only.get_args().collect();
        assert_eq!(arguments, ["--ignored", "--test-threads=2", "--exact", "a::one", "a::two"]);
        let variables: Vec<_> = only.get_envs().collect();
        assert_eq!(variables, [("A".as_ref(), Some("1".as_ref()))]);
        assert_eq!(only.get_current_dir(), Some("/tmp".as_ref()));
    }
}
