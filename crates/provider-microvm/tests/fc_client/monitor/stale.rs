//! What a killed keeper leaves in a VM's folder, where Firecracker refuses to listen (docs/vsock.md of Firecracker; an API socket that is there ends it).

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::Monitor as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::{PATIENCE, Place, echoed, real};

#[tokio::test]
async fn a_vm_of_the_fake_is_started_over_what_a_killed_keeper_left() -> Result<()> {
    stale(None).await
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn a_vm_of_the_real_one_is_started_over_what_a_killed_keeper_left() -> Result<()> {
    match real()? {
        Some(program) => stale(Some(program)).await,
        None => Ok(()),
    }
}

async fn stale(program: Option<PathBuf>) -> Result<()> {
    let echoes = program.is_none();
    let place = Place::new(program)?;
    let test = async {
        let spec = place.spec()?;
        let vm = place.monitor().start(&spec).await?;
        kill_process(Pid::from_raw(vm.identity().keeper.pid).context("no keeper")?, Signal::KILL)?;
        let exit = timeout(PATIENCE, vm.exited()).await??;
        ensure!(exit.to_string().starts_with("the VM was killed together with its keeper"), "{exit}");
        let (api, agent) = (place.bench.path("run/vmm/api.sock"), place.bench.path("run/vmm/agent.sock"));
        ensure!(api.exists() && agent.exists(), "{:?}", place.left()?);

        // Another one in its place, without a word before.
        let vm = place.monitor().start(&spec).await?;
        vm.pause().await?;
        vm.resume().await?;
        if echoes {
            echoed(&vm).await?;
        }
        vm.kill().await?;
        ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);

        // Sockets of another monitor's, and what no monitor makes.
        fs::create_dir(place.bench.path("run/vmm"))?;
        for stale in ["run/agent.sock", "run/qmp.sock", "run/vmm/api.sock", "run/vmm/agent.sock"] {
            drop(UnixListener::bind(place.bench.path(stale))?);
        }
        fs::write(place.bench.path("run/vmm/metrics.pipe"), "no pipe")?;
        fs::write(place.bench.path("run/vmm.json"), "not whole")?;
        // Of a keeper that was killed while it wrote.
        for unfinished in ["run/vmm.json.new", "run/exit.json.new"] {
            fs::write(place.bench.path(unfinished), "half")?;
        }
        place.monitor().clear("demo/1", &place.folder()).await?;
        ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);
        fs::create_dir(place.bench.path("run/vmm"))?;
        fs::write(place.bench.path("run/exit.json.new"), "half")?;
        let vm = place.monitor().start(&spec).await?;
        vm.kill().await?;
        ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);
        Ok(())
    };
    place.ended(test).await
}
