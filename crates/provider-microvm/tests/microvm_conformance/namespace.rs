//! A network namespace of a test's own.

use std::process::Command;

/// Says in a test's process which namespace it was started from.
const OUTSIDE: &str = "MICROVM_TEST_OUTSIDE";

/// Runs a test's body in a network namespace of its own: by this test binary started again, for this test alone.
pub(crate) fn isolated(name: &str, body: impl FnOnce()) {
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    if let Some(outside) = std::env::var_os(OUTSIDE) {
        assert_ne!(here.as_os_str(), outside, "this is no namespace of the test's own");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "loopback cannot be brought up");
        return body();
    }
    let output = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(OUTSIDE, here)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name}: see above");
}
