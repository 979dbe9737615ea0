//! The process that starts VMs is killed, or gives a start up, at any moment.
//!
//! The process that is killed is this program again, with one test and a variable that says in which folder to start a VM.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{CgroupSpec, Monitor as _, Qemu, QemuOptions, RunFolder, VmSpec};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use vm_testbed::{Kernel, Need, can_run};

use crate::bounds::{cgroup, folders};
use crate::guest::{Guest, ended, keeper_of, monitor, processes, say, spec};

const FOLDER: &str = "VMM_TEST_FOLDER";
const STARTED: &str = "a VM was started";

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn in_folder(folder: &Path) -> Result<(Qemu, VmSpec)> {
    let mut spec = spec(folder, Kernel::find()?.image());
    spec.cgroup = Some(CgroupSpec { parent: parent(folder), ..cgroup("one") });
    let mut options = QemuOptions::new(keeper_of(folder));
    let wrapper = folder.join("qemu");
    if wrapper.exists() {
        options.program = wrapper;
    }
    Ok((Qemu::new(options), spec))
}

fn parent(folder: &Path) -> String {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("none").trim_start_matches('.');
    format!("clarateach-test-{name}")
}

/// By itself: one runtime starts a VM and ends, another one finds it. With the variable: the process that others kill.
#[test]
#[ignore = "needs QEMU and a guest kernel"]
fn a_vm_outlives_the_runtime_that_started_it() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    if let Some(folder) = std::env::var_os(FOLDER) {
        let (monitor, spec) = in_folder(Path::new(&folder))?;
        return runtime()?.block_on(async {
            fs::write(Path::new(&folder).join("starter"), std::process::id().to_string())?;
            let _vm = monitor.start(&spec).await?;
            println!("{STARTED}");
            std::future::pending().await
        });
    }
    let guest = Guest::new()?;
    let pid = runtime()?
        .block_on(async { anyhow::Ok(monitor().start(&guest.spec()).await?.identity().vmm.pid) })?;
    runtime()?.block_on(ended(&guest, async {
        let vm = monitor().adopt("demo/1", &guest.run_folder()).await?.context("it lives")?;
        ensure!(vm.identity().vmm.pid == pid);
        say(&vm, "hello", "hello").await?;
        Ok(())
    }))
}

fn starter(folder: &Path) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "--ignored",
        "--exact",
        "--nocapture",
        "starter::a_vm_outlives_the_runtime_that_started_it",
    ]);
    command.env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Nothing of a VM is there: no process, no cgroup, no socket.
async fn nothing_left(folder: &Path) -> Result<()> {
    let left = processes(folder)?;
    ensure!(left.is_empty(), "{left:?}");
    let left = folders(&parent(folder))?;
    ensure!(left.is_empty(), "{left:?}");
    for name in ["vmm.json", "qmp.sock", "agent.sock"] {
        ensure!(!folder.join("run").join(name).exists(), "{name}");
    }
    Ok(())
}

/// What a killed starter left: a VM that can be adopted and then ended, or nothing. True for a VM.
async fn adopted_or_nothing(folder: &Path) -> Result<bool> {
    let run = RunFolder::new(folder.join("run"));
    let vm = monitor().adopt("demo/1", &run).await?;
    if let Some(vm) = &vm {
        ensure!(vm.qmp().await?.query_status().await? == provider_microvm::vmm::qemu::RunState::Running);
        vm.kill().await?;
    } else {
        // A keeper that was only begun when the starter died may not have come to its lock: it is waited for.
        gone(folder).await?;
        monitor().clear("demo/1", &run).await?;
    }
    nothing_left(folder).await?;
    Ok(vm.is_some())
}

async fn gone(folder: &Path) -> Result<()> {
    while !processes(folder)?.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A QEMU that does something before it is one.
fn wrapper(folder: &Path, before: &str) -> Result<PathBuf> {
    let path = folder.join("qemu");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] || {{ {before}; }}\nexec /usr/bin/qemu-system-x86_64 \"$@\"\n"
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_starter_killed_before_it_has_confirmed_leaves_nothing() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        // When QEMU is started, and when QEMU has been asked for its greeting.
        for before in [
            "kill -9 $(cat FOLDER/starter)",
            "(/bin/sleep 0.1; kill -9 $(cat FOLDER/starter)) & /bin/sleep 0.2",
        ] {
            wrapper(guest.path(), &before.replace("FOLDER", &guest.path().display().to_string()))?;
            let status = starter(guest.path())?.wait().await?;
            ensure!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "{status}");
            ensure!(!adopted_or_nothing(guest.path()).await?, "{before}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_starter_killed_after_the_start_leaves_its_vm() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut child = starter(guest.path())?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains(STARTED) {
                break;
            }
        }
        child.kill().await?;
        ensure!(adopted_or_nothing(guest.path()).await?, "the VM is gone");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_starter_killed_at_any_moment_leaves_a_vm_or_nothing() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut seen = [0, 0];
        for step in 0..24 {
            let mut child = starter(guest.path())?;
            tokio::time::sleep(Duration::from_millis(step * 20)).await;
            child.kill().await?;
            seen[usize::from(
                adopted_or_nothing(guest.path()).await.with_context(|| format!("step {step}"))?,
            )] += 1;
        }
        ensure!(seen[0] > 0, "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_start_that_is_given_up_leaves_nothing() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let (monitor, spec) = in_folder(guest.path())?;
        let mut finished = 0;
        for step in 0..24 {
            let given_up = tokio::time::timeout(Duration::from_millis(step * 15), monitor.start(&spec)).await;
            if let Ok(started) = given_up {
                started?.kill().await?;
                finished += 1;
            }
            gone(guest.path()).await?;
            ensure!(monitor.adopt("demo/1", &spec.folder).await?.is_none(), "step {step}");
            nothing_left(guest.path()).await.with_context(|| format!("step {step}"))?;
        }
        ensure!(finished < 24, "no start was given up");
        Ok(())
    })
    .await
}
