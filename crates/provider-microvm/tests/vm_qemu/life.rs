//! A VM from its start to its end.

use anyhow::{Context as _, Result, bail, ensure};
use provider_microvm::vmm::{Monitor as _, VmmError};
use vm_testbed::{Need, can_run};

use crate::guest::{Guest, ended, monitor, say, shell};

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_guest_is_started_adopted_and_killed() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut spec = guest.spec();
        spec.vcpus = 2;
        spec.drives = vec![guest.drive("root", true)?, guest.drive("data", false)?];
        let vm = monitor().start(&spec).await?;
        ensure!(vm.is_alive()?);
        ensure!(say(&vm, "hello", "hello").await?.contains("hello"));
        let disks =
            shell(&vm, "for disk in /sys/block/vd*; do echo $(cat $disk/serial) $(cat $disk/ro); done")
                .await?;
        let mut disks: Vec<_> = disks.lines().collect();
        disks.sort_unstable();
        ensure!(disks == ["data 0", "root 1"], "{disks:?}");
        ensure!(shell(&vm, "nproc").await? == "2");
        ensure!(shell(&vm, "cat /sys/class/misc/hw_random/rng_current").await?.starts_with("virtio_rng"));
        let identity = vm.identity().clone();
        ensure!(guest.run_folder().identity()?.as_ref() == Some(&identity));
        drop(vm);

        let vm = monitor().adopt("demo/1", &guest.run_folder()).await?.context("there is one")?;
        ensure!(vm.identity() == &identity);
        ensure!(say(&vm, "again", "again").await?.contains("again"));
        ensure!(guest.console().contains("guest: ready"));
        vm.kill().await?;
        ensure!(!vm.is_alive()?);
        ensure!(vm.exited().await?.to_string() == "the VM was killed by SIGKILL");
        vm.kill().await?;
        ensure!(monitor().adopt("demo/1", &guest.run_folder()).await?.is_none());
        let mut left: Vec<_> = std::fs::read_dir(guest.run_folder().path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        left.sort();
        ensure!(left == ["exit.json", "keeper.lock", "launch.lock"], "{left:?}");
        Ok(())
    })
    .await
}

/// As one whose agent finds that it cannot work: that it ended is told, and not that its monitor does not answer any more.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_guest_that_ends_before_its_agent_listens_has_ended() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::with_script("echo guest: gives up")?;
    ended(&guest, async {
        let savable = monitor().start_to_save(&guest.spec(), "sha256:0123").await?;
        match savable.vm().agent_listens().await {
            Err(VmmError::Ended { exit, .. }) => {
                ensure!(exit.to_string() == "the guest switched the VM off or restarted it", "{exit}");
            }
            other => bail!("{other:?}"),
        }
        ensure!(guest.console().contains("guest: gives up"));
        Ok(())
    })
    .await
}
