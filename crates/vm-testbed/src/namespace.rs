//! A network namespace of a test's own, and one of mounts, so that what it mounts goes with it.

use std::process::Command;

use crate::Need;

/// Says in a test's process which namespace it was started from.
const OUTSIDE: &str = "CLARATEACH_TEST_OUTSIDE";

/// Runs a test's body in a network namespace of its own, with loopback up, and a mount namespace: by this test binary started again, for this test alone.
/// `name` is the test's full name. The process outside is the parent of the one inside, and waits for it. Where such a test cannot run, it is told as skipped.
///
/// # Panics
/// When there is no such namespace, and when the body panics.
#[expect(clippy::panic, reason = "it is the body of a test")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test that was started again says is passed on"
)]
pub fn isolated(name: &str, body: impl FnOnce()) {
    let here =
        std::fs::read_link("/proc/self/ns/net").unwrap_or_else(|why| panic!("/proc/self/ns/net: {why}"));
    if let Some(outside) = std::env::var_os(OUTSIDE) {
        assert_ne!(here.as_os_str(), outside, "this is no namespace of the test's own");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|up| up.success()), "loopback cannot be brought up");
        return body();
    }
    if !crate::needs::has(name, &[Need::Root, Need::Guest, Need::Agent]) {
        return;
    }
    let this = std::env::current_exe().unwrap_or_else(|why| panic!("this program: {why}"));
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(this)
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(OUTSIDE, here)
        .output()
        .unwrap_or_else(|why| panic!("unshare: {why}"));
    let said = String::from_utf8_lossy(&output.stdout);
    // Set off, so that nobody takes its count for that of the whole binary.
    said.lines().for_each(|line| println!("| {line}"));
    String::from_utf8_lossy(&output.stderr).lines().for_each(|line| eprintln!("| {line}"));
    assert!(output.status.success() && said.contains("1 passed"), "{name}: see above");
}

/// Runs a test's body by [`isolated()`](fn@isolated), under the name that it has where this stands: `isolated!(name_of_the_test, || …)`.
#[macro_export]
macro_rules! isolated {
    ($name:ident, $body:expr) => {
        $crate::isolated(
            concat!(module_path!(), "::", stringify!($name)).split_once("::").map_or("", |(_, name)| name),
            $body,
        )
    };
}
