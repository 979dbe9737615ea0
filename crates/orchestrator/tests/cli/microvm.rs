//! `microvm setup` and `status` where something is missing. With a real kernel: `tests/vm_setup.rs`.

use std::fs;

use crate::process::{Done, orchestrator, run};

fn microvm(folder: &tempfile::TempDir, arguments: &[&str]) -> Done {
    run(orchestrator(folder.path()).arg("microvm").args(arguments).args(["--state-dir", "state"]))
}

/// What is below the state folder.
fn left(folder: &tempfile::TempDir) -> bool {
    folder.path().join("state/microvm/boot/current").exists()
}

#[test]
fn nothing_prepared_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let done = microvm(&folder, &["status", "--output", "json"]).code(1).json();
    assert_eq!(done["ok"], false);
    assert!(done["boot"].is_null(), "{done}");
    assert_eq!(done["checks"][0]["name"], "guest kernel");
    assert!(done["checks"][0]["remedy"].as_str().unwrap().contains("microvm setup"), "{done}");
    let rows = microvm(&folder, &["status", "--output", "tsv"]).code(1).out;
    assert!(rows.starts_with("error\tguest kernel\tno kernel is prepared"), "{rows}");
    assert!(!folder.path().join("state").exists(), "asking made something");
}

#[test]
fn no_kernel_is_told_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let done = microvm(&folder, &["setup", "--from", "empty", "--agent", "agent"]).code(3);
    assert!(done.err.contains("empty") && done.err.contains("what to do: "), "{}", done.err);
    assert!(!left(&folder));
}

#[test]
fn a_file_that_is_no_kernel_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vmlinuz"), "no kernel").unwrap();
    let done = microvm(&folder, &["setup", "--from", "vmlinuz", "--agent", "agent"]).code(1);
    assert!(done.err.contains("vmlinuz cannot be the kernel: "), "{}", done.err);
    assert!(!left(&folder));
}

#[test]
fn what_is_damaged_says_to_set_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let boot = folder.path().join("state/microvm/boot");
    fs::create_dir_all(&boot).unwrap();
    fs::write(boot.join("current"), "0123456789abcdef\n").unwrap();
    let done = microvm(&folder, &["status"]).code(1);
    assert!(done.out.contains("cannot be used") && done.out.contains("what to do: "), "{}", done.out);
}

#[cfg(target_os = "linux")]
#[test]
fn a_keeper_without_a_service_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    assert_ne!(run(orchestrator(folder.path()).arg("vmm-keeper")).code, 0);
    let help = run(orchestrator(folder.path()).arg("--help")).code(0).out;
    assert!(!help.contains("vmm-keeper"), "{help}");
}

#[cfg(target_os = "linux")]
#[test]
fn monitors_without_a_jail_are_warned_of_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    // Another service has the folder, so that this one ends before it looks at the host's network.
    fs::create_dir_all(folder.path().join("state/microvm")).unwrap();
    let other = fs::File::create(folder.path().join("state/microvm/lock")).unwrap();
    other.lock().unwrap();
    let warnings = |jailer: &[&str]| {
        let serve = ["serve", "--provider", "microvm", "--state-dir", "state", "--listen", "127.0.0.1:0"];
        let firecracker = ["--microvm-monitor", "firecracker", "--microvm-snapshot", "off"];
        let done = run(orchestrator(folder.path()).args(serve).args(firecracker).args(jailer));
        assert!(done.code != 0 && done.err.contains("is used by another service"), "{}", done.err);
        let lines = done.err.lines().filter(|line| line.contains("run without a jail"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let warned = warnings(&["--microvm-jailer", "off"]);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("WARN") && warned[0].contains("microvm.jailer"), "{warned:?}");
    assert!(warnings(&[]).is_empty());
}
