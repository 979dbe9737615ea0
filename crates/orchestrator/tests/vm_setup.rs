//! `microvm setup` with the distribution's real kernel, by itself and by the script of `make microvm-setup`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "cli/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{Done, orchestrator, run};

/// The folder that `scripts/ensure-guest-kernel.sh` makes.
fn package() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
    set("CLARATEACH_GUEST").unwrap_or_else(|| cache().join("clarateach/guest"))
}

fn microvm(folder: &Path, arguments: &[&str]) -> Done {
    run(orchestrator(folder).arg("microvm").args(arguments).args(["--state-dir", "state"]))
}

fn setup(folder: &Path, agent: &Path, output: &str) -> Done {
    let package = package();
    let (from, agent) = (package.to_str().unwrap(), agent.to_str().unwrap());
    microvm(folder, &["setup", "--from", from, "--agent", agent, "--output", output])
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_kernel_is_prepared_shown_and_replaced() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Any static program; what it does is not asked here.
    let busybox = package().join("bin/busybox");
    let made = setup(folder.path(), &busybox, "json").code(0).json();
    let id = made["boot"]["id"].as_str().unwrap();
    let at = |id: &str| folder.path().join("state/microvm/boot").join(id);
    assert!(at(id).join("kernel").is_file() && at(id).join("initramfs").is_file());
    assert_eq!(made["ok"], true);
    let shown = microvm(folder.path(), &["status", "--output", "json"]).code(0).json();
    assert_eq!(shown["boot"]["id"], id);
    assert_eq!(shown["boot"]["version"], made["boot"]["version"]);
    let shown = microvm(folder.path(), &["status"]).code(0).out;
    assert!(shown.contains(made["boot"]["version"].as_str().unwrap()), "{shown}");

    // The same again is the same.
    let again = setup(folder.path(), &busybox, "tsv").code(0).out;
    assert!(again.contains("\tprepared\t") && again.contains(id), "{again}");

    // Others replace it; the one before them stays for a seat that is just being started, the ones before that go.
    let mut agent = fs::read(&busybox).unwrap();
    let mut others = Vec::new();
    for name in ["second", "third"] {
        agent.push(0);
        let path = folder.path().join(name);
        fs::write(&path, &agent).unwrap();
        let made = setup(folder.path(), &path, "json").code(0).json();
        others.push(made["boot"]["id"].as_str().unwrap().to_owned());
    }
    assert!(!at(id).exists() && at(&others[0]).exists() && at(&others[1]).exists());
    let shown = microvm(folder.path(), &["status", "--output", "json"]).code(0).json();
    assert_eq!(shown["boot"]["id"], others[1].as_str());

    // What fails changes nothing.
    let refused = setup(folder.path(), Path::new("/bin/sh"), "table").code(1);
    assert!(refused.err.contains("cannot be the guest agent"), "{}", refused.err);
    let shown = microvm(folder.path(), &["status", "--output", "json"]).code(0).json();
    assert_eq!(shown["boot"]["id"], others[1].as_str());
}

/// The script, with a program and an agent that are built already.
fn script(state: &Path, more: &[&str]) -> Done {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/microvm-setup.sh");
    let mut command = Command::new(script);
    command.arg("--state-dir").arg(state).args(["--program", env!("CARGO_BIN_EXE_orchestrator")]);
    run(command.arg("--agent").arg(vm_testbed::agent().unwrap()).args(more))
}

#[test]
#[ignore = "vm tier: needs root, QEMU, nft and a guest kernel; cargo xtask test runs it"]
fn the_script_of_newcomers_prepares_a_host_and_says_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("new/state");
    let prepared = || {
        let shown = microvm(folder.path(), &["status", "--output", "json"]);
        (shown.code == 0).then(|| shown.json()["boot"]["id"].as_str().unwrap().to_owned())
    };
    let refused = script(&state, &["--bogus"]).code(1);
    assert!(refused.err.contains("--bogus") && refused.err.contains("usage"), "{refused:?}");
    assert!(!state.exists());

    let done = script(&state, &[]).code(0);
    // What was prepared, what the doctor says of this host, and what to do.
    for word in ["virtio", "overlay", "monitor", "capabilities", "start it: orchestrator serve"] {
        assert!(done.out.contains(word), "{word}: {done:?}");
    }
    let serve = format!("serve --provider microvm --state-dir {}", state.display());
    assert!(done.err.contains(&serve), "{done:?}");
    std::os::unix::fs::symlink(&state, folder.path().join("state")).unwrap();
    let first = prepared().unwrap();
    // Again, it is the same.
    script(&state, &[]).code(0);
    assert_eq!(prepared(), Some(first));
}
