//! The service over jailed Firecracker seats, in an outer guest whose KVM runs them: a class as an operator runs it, and whatever may happen to it.
//!
//! By hand, as root, with `FIRECRACKER_BIN` and `JAILER_BIN` set: `cargo test -p orchestrator --test vm_service --no-run`, then `cargo test -p orchestrator
//! --test fc_service -- --ignored --nocapture`, after `cargo xtask agent`, `scripts/ensure-guest-kernel.sh` and `scripts/ensure-guest-kernel.sh generic`.
//! `CLARATEACH_WORKSPACE` names an archive of the reference image (`images/workspace/build.sh --archive`); without it the seats are those of the testbed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "what is said in the guest is the transcript of the test")]

#[path = "../cli/process.rs"]
mod process;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::{kept_as, orchestrator, run};
use vm_testbed::{BootError, IMAGE, Kernel, Need, Outer, TestProgram, WORKSPACE, can_run, skip};

/// Far more than an emulated host needs on a busy machine: only what hangs gets there.
const LIMIT: Duration = Duration::from_secs(90 * 60);

/// The archive of an image, and its name.
fn image(folder: &Path) -> (PathBuf, String) {
    match vm_testbed::workspace() {
        Ok(archive) => return (archive, WORKSPACE.to_owned()),
        Err(BootError::Missing(_)) => {}
        Err(why) => panic!("{why}"),
    }
    vm_testbed::archives(folder).unwrap();
    (folder.join("latest.tar"), format!("{IMAGE}:latest"))
}

/// What all of these tests take of this host.
const NEEDS: [Need; 6] = [Need::Outer, Need::Guest, Need::Agent, Need::Firecracker, Need::Jailer, Need::Root];

/// Runs a script of this folder in an outer guest; what it says is kept, and printed, and ends with these words.
fn is_done(script: &str, memory_mib: u32, last: &str) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (archive, name) = image(folder.path());
    // Here, where it does not take minutes.
    let mut build = orchestrator(folder.path());
    run(build.args(["rootfs", "build"]).arg(&archive).arg("--state-dir").arg(&state)).code(0);

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(here.join("tests/fc_service").join(script));
    command
        .env("ORCHESTRATOR", env!("CARGO_BIN_EXE_orchestrator"))
        .env("PREPARED", &state)
        .env("IMAGE", name);
    command.env("KERNEL", Kernel::find().unwrap().source()).env("AGENT", vm_testbed::agent().unwrap());
    command.env("DEPLOY", here.join("../../deploy"));
    let mut kept = kept_as(script);
    let outer = Outer::find().unwrap().memory(memory_mib);
    let done = outer.run(&command, LIMIT, |line| {
        println!("{line}");
        if let Some(file) = &mut kept {
            writeln!(file, "{line}").unwrap();
        }
    });
    let done = done.unwrap_or_else(|why| panic!("{why}"));
    println!("the outer guest was ready after {:.1} s", done.ready.as_secs_f64());
    assert!(done.code == 0 && done.said.ends_with(last), "see above\n{}", done.console.tail());
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn a_jailed_class_outlives_the_service_and_leaves_nothing() {
    if can_run(&NEEDS) {
        is_done("class.sh", 6144, "the class is done\n");
    }
}

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, systemd, and kernels for an outer and an inner guest"]
fn the_unit_with_what_jails_take_carries_a_class() {
    const SYSTEMD: &str = "/usr/lib/systemd/systemd";
    if !can_run(&NEEDS) {
        return;
    }
    if Path::new(SYSTEMD).exists() {
        is_done("unit.sh", 6144, "the unit is done\n");
    } else {
        skip(&format!("no {SYSTEMD}: install systemd"));
    }
}

/// The tests of services over seats that something happens to, which run over QEMU elsewhere: over jailed Firecracker seats. One of them is about the one line that
/// QEMU gives to an agent, of which Firecracker gives as many as are asked for.
#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn jailed_seats_outlive_whatever_ends_the_service_at_any_step() {
    if !can_run(&NEEDS) {
        return;
    }
    let tests = [
        "steps::",
        "chaos::",
        "trouble::a_killed_machine_is_told_and_started_again_with_its_data",
        "trouble::a_seat_that_hangs_is_told_and_can_be_destroyed",
        "trouble::a_seat_whose_network_is_deleted_is_told_and_mended",
    ];
    let outer = Outer::find().unwrap().memory(6144);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let variables = [(vm_testbed::UNDER_FIRECRACKER, "jailed")];
    TestProgram::find("vm_service", &tests).must_pass(&outer, folder, &variables, LIMIT);
}
