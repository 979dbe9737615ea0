//! The agent as the first process of real guests under QEMU.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod guest;
mod image;
mod life;
mod link;
mod standalone;
mod trouble;

/// Whether this machine has what the tests take. Only the runner of the tiers can count a test that cannot run; without it, that is a
/// failure.
fn can_run() -> bool {
    use std::io::Write as _;
    let missing = vm_testbed::Kernel::find().err().or_else(|| vm_testbed::agent().err());
    let Some(why) = missing else { return true };
    let Some(report) = std::env::var_os("CONFORMANCE_REPORT") else {
        panic!("cannot run here: {why}");
    };
    let test = std::thread::current().name().unwrap_or("vm").to_owned();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(report).unwrap();
    writeln!(file, "skipped\tvm\t{test}\t{why}").unwrap();
    false
}
