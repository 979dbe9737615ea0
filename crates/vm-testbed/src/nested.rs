//! A test in an outer guest.

use std::process::Command;
use std::time::Duration;

use crate::{Need, Outer, needs};

/// Says in a test's process that it is in an outer guest.
const INSIDE: &str = "CLARATEACH_TEST_NESTED";

/// Runs a test's body in an outer guest: by this test binary started again there, for this test alone. `name` is the test's full name. What the body needs
/// of a machine is looked at in the guest, where it is a failure when it is missing, but for programs and files, which are this host's. Where
/// such a test cannot run, it is told as skipped.
///
/// # Panics
/// When the outer guest does not come up or takes longer than `limit`, and when the body panics.
#[expect(clippy::panic, reason = "it is the body of a test")]
#[expect(clippy::print_stdout, reason = "what a test that was started again says is passed on")]
pub fn nested(name: &str, files: &[Need], limit: Duration, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        assert!(needs::has(name, &[Need::Kvm, Need::Root]), "{name}: the outer guest lacks something");
        return body();
    }
    if !needs::has(name, files) || !needs::has(name, &[Need::Outer]) {
        return;
    }
    let this = std::env::current_exe().unwrap_or_else(|why| panic!("this program: {why}"));
    let mut test = Command::new(this);
    test.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    if let Ok(folder) = std::env::current_dir() {
        test.current_dir(folder);
    }
    // Set off, so that nobody takes its count for that of the whole binary.
    let run = Outer::find().and_then(|outer| outer.run(&test, limit, |line| println!("| {line}")));
    let run = run.unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(run.code == 0 && run.said.contains("1 passed"), "{name}: see above\n{}", run.console.tail());
    println!("the outer guest was ready after {:.1} s", run.ready.as_secs_f64());
}
