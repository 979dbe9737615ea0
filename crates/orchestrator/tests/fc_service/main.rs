//! The service over jailed Firecracker seats, as an operator runs it, in an outer guest whose KVM runs them.
//!
//! By hand, as root, with `FIRECRACKER_BIN` and `JAILER_BIN` set: `cargo test -p orchestrator --test fc_service -- --ignored --nocapture`, after `cargo xtask
//! agent`, `scripts/ensure-guest-kernel.sh` and `scripts/ensure-guest-kernel.sh generic`. `CLARATEACH_WORKSPACE` names an archive of the reference image
//! (`images/workspace/build.sh --archive`); without it the seats are those of the testbed.

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
use vm_testbed::{BootError, IMAGE, Kernel, Need, Outer, WORKSPACE, can_run};

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

#[test]
#[ignore = "needs Firecracker, its jailer, QEMU, and kernels for an outer and an inner guest"]
fn a_jailed_class_outlives_the_service_and_leaves_nothing() {
    if !can_run(&[Need::Outer, Need::Guest, Need::Agent, Need::Firecracker, Need::Jailer, Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (archive, name) = image(folder.path());
    // Here, where it does not take minutes.
    let mut build = orchestrator(folder.path());
    run(build.args(["rootfs", "build"]).arg(&archive).arg("--state-dir").arg(&state)).code(0);

    let mut class = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fc_service/class.sh"));
    class.env("ORCHESTRATOR", env!("CARGO_BIN_EXE_orchestrator")).env("PREPARED", &state).env("IMAGE", name);
    class.env("KERNEL", Kernel::find().unwrap().source()).env("AGENT", vm_testbed::agent().unwrap());
    let mut kept = kept_as("fc-class");
    let outer = Outer::find().unwrap().memory(6144);
    let done = outer.run(&class, LIMIT, |line| {
        println!("{line}");
        if let Some(file) = &mut kept {
            writeln!(file, "{line}").unwrap();
        }
    });
    let done = done.unwrap_or_else(|why| panic!("{why}"));
    println!("the outer guest was ready after {:.1} s", done.ready.as_secs_f64());
    assert!(
        done.code == 0 && done.said.ends_with("the class is done\n"),
        "see above\n{}",
        done.console.tail()
    );
}
