//! Kills, and what they leave.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::Monitor as _;
use rustix::process::Signal;
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, ENDED, NEEDS, firecracker, signal};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_killed_keeper_takes_its_jailed_vm_along() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        for again in [false, true] {
            let vm = bed.start("1").await?;
            bed.hears("1", BareMetal::GREETING).await?;
            signal(vm.identity().keeper.pid, Signal::TERM)?;
            signal(vm.identity().keeper.pid, Signal::HUP)?;
            signal(vm.identity().vmm.pid, Signal::TERM)?;
            vm.pause().await?;
            let own = firecracker(&vm)?;
            signal(vm.identity().keeper.pid, Signal::KILL)?;
            let told = vm.exited().await?.to_string();
            ensure!(told == "the VM was killed together with its keeper, or the host restarted", "{told}");
            ensure!(!std::path::Path::new("/proc").join(own.to_string()).exists(), "Firecracker goes on");
            ensure!(bed.adopt("1").await?.is_none());
            if again {
                // Another one in its place, without a word before.
                bed.start("1").await?.kill().await?;
            } else {
                bed.clear("1").await?;
            }
            bed.nothing_left()?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn the_end_of_a_jailed_vm_is_noticed_and_told() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        for (sent, words) in [
            (Signal::KILL, "the VM was killed by SIGKILL"),
            (Signal::SEGV, "the VM monitor gave up with exit code 150 (SIGSEGV)"),
            (Signal::BUS, "the VM monitor gave up with exit code 149 (SIGBUS: "),
        ] {
            let vm = bed.start("1").await?;
            // It has answered once more: the first thing that it does after a start is to write its metrics, and a signal that it handles meanwhile has its handler wait
            // for those for ever (Firecracker 1.16.1).
            vm.pause().await?;
            vm.resume().await?;
            signal(firecracker(&vm)?, sent)?;
            let told = vm.exited().await?.to_string();
            ensure!(told.starts_with(words), "{told}");
            bed.nothing_left()?;
            ensure!(bed.left("1")? == ENDED, "{:?}", bed.left("1")?);
        }
        let vm = bed.start("1").await?;
        signal(vm.identity().vmm.pid, Signal::KILL)?;
        let told = vm.exited().await?.to_string();
        ensure!(told == "the VM was killed by SIGKILL", "{told}");
        bed.nothing_left()
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_keeper_killed_while_it_starts_a_jail_leaves_what_can_be_cleared() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        bed.slow_jailer()?;
        // When the jailer is not one yet, while it makes its jail, and when the monitor is told what it is.
        for late in [0, 290, 320, 350, 400] {
            let (monitor, spec) = (bed.monitor()?, bed.spec("1")?);
            let kill = async {
                bed.jailing(late).await?;
                signal(bed.keeper("1")?, Signal::KILL)
            };
            let (started, killed) = tokio::join!(monitor.start(&spec), kill);
            killed?;
            match started {
                Ok(vm) => drop(vm.exited().await?),
                Err(why) => ensure!(why.to_string().starts_with("seat demo/1: "), "{why}"),
            }
            bed.clear("1").await?;
            bed.nothing_left().with_context(|| format!("{late} ms later"))?;
        }
        fs::remove_file(bed.path("jailer"))?;
        bed.start("1").await?.kill().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_start_that_is_given_up_leaves_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (monitor, spec) = (bed.monitor()?, bed.spec("1")?);
        let mut finished = 0;
        for step in 0..20 {
            // With a keeper that waits already, and with one that may be there in time.
            let mut expected = monitor.expect();
            if step % 2 == 0 {
                expected.ready().await;
            }
            let given_up = tokio::time::timeout(Duration::from_millis(step * 12), monitor.start(&spec)).await;
            if let Ok(started) = given_up {
                started?.kill().await?;
                finished += 1;
            }
            expected.over().await;
            bed.quiet().await?;
            ensure!(bed.adopt("1").await?.is_none(), "step {step}");
            // A keeper that finds nobody to hear it removes what it has made before it ends.
            bed.nothing_left().with_context(|| format!("step {step}"))?;
        }
        ensure!(finished < 20, "no start was given up");
        Ok(())
    })
    .await
}
