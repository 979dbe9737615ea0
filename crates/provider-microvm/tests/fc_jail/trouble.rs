//! Kills, and what they leave.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::jail;
use vm_testbed::{BareMetal, can_run};

use crate::jailed::{Ground, NEEDS};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_killed_monitors_jail_is_made_anew() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let ground = Ground::new().await?;
    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    vm.boot().await?;
    vm.kill()?;
    vm.ended().await?;
    drop(vm);
    // What it left keeps another from starting: the jailer makes its devices once.
    let said = ground.start().await.err().context("it started in a used jail")?.to_string();
    ensure!(said.contains("the jailer ended with exit status: 1"), "{said}");

    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    vm.boot().await?;
    vm.hear(BareMetal::GREETING).await?;
    vm.kill()?;
    vm.ended().await?;
    drop(vm);
    ground.clear()
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_socket_that_is_there_is_why_a_jail_is_made_anew() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let ground = Ground::new().await?;
    jail::stage(&ground.spec)?;
    let stale = std::os::unix::net::UnixListener::bind(ground.spec.root().join("v.sock"))?;
    drop(stale);
    let mut vm = ground.start().await?;
    let said = vm.boot().await.err().context("it took a stale socket")?.to_string();
    ensure!(said.starts_with("PUT /vsock: 400") && said.contains("Address already in use"), "{said}");
    vm.kill()?;
    vm.ended().await?;
    drop(vm);

    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    vm.boot().await?;
    vm.kill()?;
    vm.ended().await?;
    drop(vm);
    ground.clear()
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailer_killed_at_any_moment_leaves_nothing_that_stays() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let ground = Ground::new().await?;
    for step in 0..20 {
        jail::stage(&ground.spec)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut jailer = ground.start_jailer()?;
        tokio::time::sleep(Duration::from_millis(step)).await;
        jailer.kill().await?;
        ground.kill_all().await?;
        ground.clear().with_context(|| format!("after {step} ms"))?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn links_that_a_hostile_monitor_left_lead_the_jailer_nowhere() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let ground = Ground::new().await?;
    let outside = ground.path().join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("precious"), "precious")?;
    jail::stage(&ground.spec)?;
    let root = ground.spec.root();
    let program = ground.spec.firecracker.file_name().context("its name")?;
    symlink(outside.join("precious"), root.join(program))?;
    symlink(&outside, root.join("dev"))?;
    symlink(&outside, root.join("run"))?;
    symlink(outside.join("precious"), root.join("api.sock"))?;

    jail::stage(&ground.spec)?;
    let mut vm = ground.start().await?;
    vm.boot().await?;
    vm.hear(BareMetal::GREETING).await?;
    vm.kill()?;
    vm.ended().await?;
    drop(vm);
    ground.clear()?;
    ensure!(fs::read_to_string(outside.join("precious"))? == "precious");
    ensure!(fs::read_dir(&outside)?.count() == 1);
    Ok(())
}
