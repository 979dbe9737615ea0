//! A process that stops answering while its VM runs, as one that hangs in a handler of a signal does (docs/prod-host-setup.md of Firecracker).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{Monitor as _, VmmError};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::{PATIENCE, Place, real};

#[tokio::test]
async fn a_vm_of_the_fake_that_stops_answering_is_found_and_ended() -> Result<()> {
    stuck(None).await
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn a_vm_of_the_real_one_that_stops_answering_is_found_and_ended() -> Result<()> {
    match real()? {
        Some(program) => stuck(Some(program)).await,
        None => Ok(()),
    }
}

async fn stuck(program: Option<PathBuf>) -> Result<()> {
    let place = Place::new(program)?;
    let test = async {
        let vm = place.monitor().start(&place.spec()?).await?;
        let pid = vm.identity().vmm.pid;
        kill_process(Pid::from_raw(pid).context("no process")?, Signal::STOP)?;
        timeout(PATIENCE, stopped(pid)).await?;
        // It takes the call, and whoever waits for its answer can give that up.
        ensure!(timeout(Duration::from_millis(300), vm.pause()).await.is_err());
        ensure!(vm.is_alive()?);
        drop(vm);

        // A service that starts again finds it without asking it, and nothing else is started in its place.
        let vm = place.monitor().adopt("demo/1", &place.folder()).await?.context("it is there")?;
        let busy = place.monitor().start(&place.spec()?).await.map(drop);
        ensure!(matches!(busy, Err(VmmError::Busy { .. })), "{busy:?}");
        let agent = timeout(Duration::from_millis(300), vm.connect_agent()).await;
        ensure!(agent.is_err(), "its agent cannot be spoken to");
        vm.kill().await?;
        let exit = timeout(PATIENCE, vm.exited()).await??;
        ensure!(exit.to_string() == "the VM was killed by SIGKILL", "{exit}");
        ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);
        Ok(())
    };
    place.ended(test).await
}

/// Waits until all of a process stands still (`proc_pid_stat(5)`): a signal takes its time on a busy machine.
async fn stopped(pid: i32) {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let stands = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    while !std::fs::read_dir(&tasks).is_ok_and(|mut all| all.all(|task| task.is_ok_and(stands))) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
