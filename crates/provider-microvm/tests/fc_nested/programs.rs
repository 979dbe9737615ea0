//! Test programs that run on a machine's own KVM elsewhere, or over another monitor.

use std::path::Path;

use vm_testbed::{Need, Outer, TestProgram, can_run};

use crate::{LIMIT, Place};

/// What they take of this host.
const FILES: [Need; 6] =
    [Need::Outer, Need::Guest, Need::Agent, Need::Firecracker, Need::Jailer, Need::BareMetal];

/// Runs these tests of a program ([`TestProgram::find`]) in an outer guest; all must pass there.
fn all_pass(name: &str, memory_mib: u32, which: &[&str], variables: &[(&str, &str)]) {
    let _place = Place::take();
    let outer = Outer::find().unwrap().memory(memory_mib);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    TestProgram::find(name, which).must_pass(&outer, folder, variables, LIMIT);
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
    all_pass(program, 8192, which, &[(vm_testbed::UNDER_FIRECRACKER, "jailed")]);
}
