//! What VMs count comes through, and a pipe that nobody reads is no trouble to them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::firecracker::{Api, Attached, Limits};
use provider_microvm::vmm::{Monitor as _, Vm};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Place, real};

#[tokio::test]
async fn what_a_vm_of_the_fake_counts_comes_through() -> Result<()> {
    let place = Place::new(None)?;
    place.ended(comes_through(&place, "microvm_disk_bytes", "read")).await
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn what_a_vm_of_the_real_one_counts_comes_through() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    let place = Place::new(Some(program))?;
    // Its guest asks the keyboard's controller again and again.
    place.ended(comes_through(&place, "microvm_processor_exits", "port")).await
}

async fn comes_through(place: &Place, name: &'static str, word: &str) -> Result<()> {
    let vm = place.monitor().start(&place.spec()?).await?;
    ensure!(value(&vm, "microvm_monitors_measured", "") == Some(1));
    // It writes a line when it starts, before its guest has done anything, and the next ones when it is told to.
    ensure!(flush(place, 1).await? == 0);
    let first = more_than(&vm, name, word, 0).await?;
    ensure!(flush(place, 1).await? == 0);
    more_than(&vm, name, word, first).await?;
    drop(vm);

    // Nobody reads: lines are lost, and nothing waits for that.
    ensure!(flush(place, 40).await? > 0, "a pipe has room for all of this");
    let vm = place.monitor().adopt("demo/1", &place.folder()).await?.context("it runs")?;
    vm.pause().await?;
    vm.resume().await?;
    let old = more_than(&vm, name, word, 0).await?;
    // There is room again. What was torn spoils nothing but itself.
    let flushed = async {
        while flush(place, 1).await? > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, flushed).await??;
    more_than(&vm, name, word, old).await?;
    vm.press_power().await?;
    timeout(PATIENCE, vm.exited()).await??;
    let unread = async {
        while value(&vm, "microvm_monitors_measured", "") != Some(0) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, unread).await.context("its pipe is read on")?;
    Ok(())
}

#[tokio::test]
async fn what_a_guest_tells_of_its_memory_comes_through() -> Result<()> {
    let place = Place::new(None)?;
    let test = async {
        let vm = place.monitor().start(&place.spec()?).await?;
        ensure!(flush(&place, 1).await? == 0);
        more_than(&vm, "microvm_guests_reporting", "", 0).await?;
        ensure!(value(&vm, "microvm_guest_memory_bytes", "total") == Some(64 << 20));
        ensure!(value(&vm, "microvm_guest_memory_bytes", "free") == Some(32 << 20));
        ensure!(value(&vm, "microvm_guest_memory_bytes", "available") == Some(0));
        Ok(())
    };
    place.ended(test).await
}

/// Whoever has taken over a monitor has the folder in which the pipe is.
#[tokio::test]
async fn what_lies_there_instead_of_the_pipe_is_not_read() -> Result<()> {
    let place = Place::new(None)?;
    let test = async {
        drop(place.monitor().start(&place.spec()?).await?);
        let pipe = place.bench.path("run/vmm/metrics.pipe");
        let line = "{\"utc_timestamp_ms\":1,\"block\":{\"read_bytes\":1}}\n";
        std::fs::write(place.bench.path("line"), line)?;
        for put in [
            Box::new(|| std::os::unix::fs::symlink(place.bench.path("line"), &pipe)) as Box<dyn Fn() -> _>,
            Box::new(|| std::fs::write(&pipe, line)),
            Box::new(|| Ok(())),
        ] {
            std::fs::remove_file(&pipe)?;
            put()?;
            let vm = place.monitor().adopt("demo/1", &place.folder()).await?.context("it runs")?;
            ensure!(vm.is_alive()? && vm.measurements().is_empty());
            std::fs::write(&pipe, "")?;
        }
        Ok(())
    };
    place.ended(test).await
}

/// Has the metrics written so often, and says how often there was no room for them.
async fn flush(place: &Place, times: usize) -> Result<usize> {
    let api = Api::new("demo/1", place.bench.path("run/vmm/api.sock"), Limits::default());
    let mut lost = 0;
    for _ in 0..times {
        let flushed = match Attached::attach(api.clone()).await? {
            Attached::Running(machine) => machine.flush_metrics().await,
            Attached::Paused(machine) => machine.flush_metrics().await,
        };
        match flushed {
            Ok(()) => {}
            Err(why)
                if why
                    .to_string()
                    .ends_with("Metrics error: Resource temporarily unavailable (os error 11)") =>
            {
                lost += 1;
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(lost)
}

fn value(vm: &Vm, name: &str, word: &str) -> Option<u64> {
    let measurements = vm.measurements();
    let found =
        measurements.iter().find(|one| one.name == name && one.labels.iter().all(|label| label.1 == word));
    found.map(|one| one.value)
}

/// Waits until there is more of something than there was, and says how much.
async fn more_than(vm: &Vm, name: &str, word: &str, before: u64) -> Result<u64> {
    let more = async {
        loop {
            match value(vm, name, word) {
                Some(now) if now > before => return now,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, more).await.with_context(|| format!("no more of {name} than {before}"))
}
