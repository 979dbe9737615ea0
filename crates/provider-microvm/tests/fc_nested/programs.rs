//! Test programs that run on a machine's own KVM elsewhere, or over another monitor.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use vm_testbed::{Need, Outer, can_run};

use crate::{LIMIT, alone};

/// What they take of this host.
const FILES: [Need; 6] =
    [Need::Outer, Need::Guest, Need::Agent, Need::Firecracker, Need::Jailer, Need::BareMetal];

/// The test program of this name, as it was built last: beside this one.
fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str());
        let hash = file.and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        hash.is_some_and(|hash| !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let entries = fs::read_dir(this.parent().unwrap()).unwrap();
    let all = entries.map(|entry| entry.unwrap().path()).filter(is_it);
    let newest = all.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    newest.unwrap_or_else(|| {
        panic!("{name} was not built: cargo test -p provider-microvm --test {name} --no-run")
    })
}

/// Runs the ignored tests of a program in an outer guest, those alone in whose names one of these is where any is given; all must pass there, and none skip itself.
fn all_pass(name: &str, memory_mib: u32, which: &[&str], variables: &[(&str, &str)]) {
    let _alone = alone();
    let mut tests = Command::new(program(name));
    tests.args(["--ignored", "--test-threads=2"]).envs(variables.iter().copied());
    tests.args(which).current_dir(env!("CARGO_MANIFEST_DIR"));
    let outer = Outer::find().unwrap().memory(memory_mib);
    let run = outer.run(&tests, LIMIT, |line| println!("| {line}")).unwrap_or_else(|why| panic!("{why}"));
    println!("the outer guest was ready after {:.1} s", run.ready.as_secs_f64());
    let passed = run.said.lines().any(|line| {
        line.starts_with("test result: ok. ") && line.contains("; 0 failed;") && !line.contains(" 0 passed;")
    });
    assert!(run.code == 0 && passed, "{name}: see above\n{}", run.console.tail());
    let skipped: Vec<_> = run.said.lines().filter(|line| line.starts_with("SKIPPED ")).collect();
    assert!(skipped.is_empty(), "{skipped:#?}");
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn the_client_does_there_what_it_does_here() {
    if can_run(&FILES) {
        all_pass("fc_client", 4096, &[], &[]);
    }
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn jails_hold_there_in_cgroups_of_version_2() {
    if can_run(&FILES) {
        all_pass("fc_jail", 4096, &[], &[]);
    }
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn booted_seats_keep_the_contract() {
    if can_run(&FILES) {
        keep_the_contract("conformance_suite::");
    }
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn restored_seats_keep_the_contract() {
    if can_run(&FILES) {
        keep_the_contract("restored_seats::");
    }
}

/// Those checks of the conformance suite, over jailed seats.
fn keep_the_contract(within: &str) {
    all_pass("vm_conformance", 8192, &[within], &[("CLARATEACH_TEST_FIRECRACKER", "jailed")]);
}
