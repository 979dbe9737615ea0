//! Test programs that run on a machine's own KVM elsewhere, or over another monitor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vm_testbed::{Need, Outer, can_run};

use crate::{LIMIT, Place};

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

/// The ignored tests of a program, those alone in whose names one of these is where any is given.
fn tests_of(program: &Path, which: &[&str]) -> Vec<String> {
    let list = Command::new(program).args(["--list", "--ignored"]).args(which).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    let list = String::from_utf8(list.stdout).unwrap();
    let tests: Vec<_> =
        list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    assert!(!tests.is_empty(), "{}: no test {which:?}", program.display());
    for one in which {
        assert!(tests.iter().any(|test| test.contains(one)), "{} has no test {one}", program.display());
    }
    tests
}

/// Runs the tests of a program ([`tests_of`]) in an outer guest, and in another one when its kernel fails; all must pass there, and none skip itself.
fn all_pass(name: &str, memory_mib: u32, which: &[&str], variables: &[(&str, &str)]) {
    let _place = Place::take();
    let program = program(name);
    let tests = tests_of(&program, which);
    let mut command = Command::new(program);
    command.args(["--ignored", "--test-threads=2"]).envs(variables.iter().copied());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let outer = Outer::find().unwrap().memory(memory_mib);
    let run = outer.run_tests(&command, &tests, LIMIT, |line| println!("| {line}"));
    let run = run.unwrap_or_else(|why| panic!("{why}"));
    println!("the outer guest was ready after {:.1} s", run.ready.as_secs_f64());
    assert_eq!(run.code, 0, "{name}: see above\n{}", run.console.tail());
    for test in tests {
        let ok = format!("test {test} ... ok");
        assert!(run.said.lines().any(|line| line == ok), "{name}: {test} did not say that it passed");
    }
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

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn seats_of_one_snapshot_are_each_its_own_and_one_without_its_device_comes_back() {
    if can_run(&FILES) {
        let tests = [
            "a_class_of_four_goes_on_from_one_snapshot",
            "a_seat_whose_device_is_deleted_has_another_one_when_it_is_created_again",
        ];
        jailed("vm_seat", &tests);
    }
}

/// Those checks of the conformance suite, over jailed seats.
fn keep_the_contract(within: &str) {
    jailed("vm_conformance", &[within]);
}

/// Those tests of a program, over jailed seats.
fn jailed(program: &str, which: &[&str]) {
    all_pass(program, 8192, which, &[("CLARATEACH_TEST_FIRECRACKER", "jailed")]);
}
