//! A test program of this build, in an outer guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Outer;

/// A test program, and those of its ignored tests that are to run.
#[derive(Clone, Debug)]
pub struct TestProgram {
    name: String,
    path: PathBuf,
    tests: Vec<String>,
}

impl TestProgram {
    /// The one of this name, as it was built last: beside the program that asks. With the ignored tests in whose names one of `which` is, or with all of them
    /// where there is none.
    ///
    /// # Panics
    /// When there is no such program, or one of `which` is in the name of none of its tests.
    #[must_use]
    pub fn find(name: &str, which: &[&str]) -> Self {
        let this = std::env::current_exe().unwrap_or_else(|why| panic!("this program: {why}"));
        let folder = this.parent().unwrap_or(Path::new("."));
        let path = newest(folder, name)
            .unwrap_or_else(|| panic!("{name} was not built: cargo test --workspace --test {name} --no-run"));
        let list = Command::new(&path).args(["--list", "--ignored"]).args(which).output();
        let list = list.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert!(list.status.success(), "{list:?}");
        let tests = listed(&String::from_utf8_lossy(&list.stdout));
        assert!(!tests.is_empty(), "{name} has no test {which:?}");
        for one in which {
            assert!(tests.iter().any(|test| test.contains(one)), "{name} has no test {one}");
        }
        Self { name: name.to_owned(), path, tests }
    }

    /// Runs its tests in an outer guest, in that folder and with these variables, and in another one when its kernel fails ([`Outer::run_tests`]). What is said is printed.
    ///
    /// # Panics
    /// Unless all of them pass there, and none skips itself.
    #[expect(
        clippy::print_stdout,
        reason = "what the tests say is for whoever reads the output of the one that runs them"
    )]
    pub fn must_pass(&self, outer: &Outer, folder: &Path, variables: &[(&str, &str)], limit: Duration) {
        let mut command = Command::new(&self.path);
        command.args(["--ignored", "--test-threads=2"]).envs(variables.iter().copied()).current_dir(folder);
        let run = outer.run_tests(&command, &self.tests, limit, |line| println!("| {line}"));
        let run = run.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        println!("the outer guest was ready after {:.1} s", run.ready.as_secs_f64());
        assert_eq!(run.code, 0, "{}: see above\n{}", self.name, run.console.tail());
        for test in &self.tests {
            let ok = format!("test {test} ... ok");
            assert!(
                run.said.lines().any(|line| line == ok),
                "{}: {test} did not say that it passed",
                self.name
            );
        }
        let skipped: Vec<_> = run.said.lines().filter(|line| line.starts_with("SKIPPED ")).collect();
        assert!(skipped.is_empty(), "{skipped:#?}");
    }
}

/// The program of this name in a folder in which the compiler adds a hash to names.
fn newest(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str());
        let hash = file.and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        hash.is_some_and(|hash| !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let all = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_it);
    all.max_by_key(|path| fs::metadata(path).and_then(|about| about.modified()).ok())
}

/// The names of tests in what libtest lists.
fn listed(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_program_that_was_built_last_is_taken_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path(), "vm_seat"), None);
        for (name, age) in
            [("vm_seat-0b", 1), ("vm_seat-0a", 2), ("vm_seat-0c.d", 0), ("vm_seat_2-0d", 0), ("vm_seat", 0)]
        {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).unwrap();
        }
        assert_eq!(newest(folder.path(), "vm_seat"), Some(folder.path().join("vm_seat-0b")));
    }

    #[test]
    fn tests_are_listed_and_benchmarks_are_not() {
        assert_eq!(
            listed("a::one: test\nb: benchmark\ntwo: test\n\n2 tests, 1 benchmark\n"),
            ["a::one", "two"]
        );
    }
}
