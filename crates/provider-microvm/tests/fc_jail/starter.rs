//! The process that starts jailed VMs is killed, or may not do what it takes.
//!
//! That process is this program again, with one test and a variable that says in which folder to start a VM.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{Snapshot, Snapshots as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, NEEDS, PATIENCE};

const FOLDER: &str = "JAIL_TEST_FOLDER";
const STARTED: &str = "a VM was started";
/// A file that says what is done instead of a start, and two such deeds with a snapshot in that folder.
const DEED: &str = "deed";
const SAVE: &str = "save";
const RESTORE: &str = "restore";
const GOLDEN: &str = "golden";
const IMAGE: &str = "sha256:0123";
const NAME: &str = "starter::a_jailed_vm_outlives_the_process_that_started_it";

/// By itself: a process starts a VM and is killed, and this one finds it. With the variable: the process that is killed.
#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_vm_outlives_the_process_that_started_it() -> Result<()> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let bed = Bed::of(Path::new(&folder))?;
        let (monitor, spec) = (bed.monitor()?, bed.spec("1")?);
        let _vm = match fs::read_to_string(bed.path(DEED)).unwrap_or_default().as_str() {
            SAVE => {
                let savable = monitor.start_to_save(&spec, IMAGE).await?;
                return Ok(monitor.save(savable, &bed.path(GOLDEN)).await?);
            }
            RESTORE => monitor.restore(&spec, IMAGE, &Snapshot::open(&bed.path(GOLDEN))?).await?,
            _ => bed.start("1").await?,
        };
        println!("{STARTED}");
        return std::future::pending().await;
    }
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let mut child = starter(&bed, &[])?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains(STARTED) {
                break;
            }
        }
        child.kill().await?;
        ensure!(adopted_or_nothing(&bed).await?, "the VM is gone");
        Ok(())
    })
    .await
}

fn starter(bed: &Bed, before: &[&str]) -> Result<Child> {
    let this = std::env::current_exe()?;
    let this = this.to_str().context("its path")?;
    let line: Vec<_> =
        before.iter().copied().chain([this, "--ignored", "--exact", "--nocapture", NAME]).collect();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).env(FOLDER, bed.path("")).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// What a killed starter left: a VM that can be adopted and then ended, or nothing. True for a VM.
async fn adopted_or_nothing(bed: &Bed) -> Result<bool> {
    let vm = bed.adopt("1").await?;
    if let Some(vm) = &vm {
        if !bed.path(DEED).exists() {
            bed.hears("1", BareMetal::GREETING).await?;
        }
        if let Err(why) = vm.pause().await {
            // The starter ends one that is saved, and may have been killed right after that: it is on its way out then.
            let saved = fs::read_to_string(bed.path(DEED)).is_ok_and(|deed| deed == SAVE);
            ensure!(saved, "it is not paused: {why}");
            tokio::time::timeout(PATIENCE, vm.exited()).await.with_context(|| why.to_string())??;
        }
        vm.kill().await?;
    } else {
        // A keeper that was only begun when the starter died may not have come to its lock: it is waited for.
        bed.quiet().await?;
        bed.clear("1").await?;
    }
    bed.nothing_left()?;
    Ok(vm.is_some())
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_starter_killed_before_it_has_confirmed_leaves_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        bed.slow_jailer()?;
        for late in [0, 100, 250] {
            let mut child = starter(&bed, &[])?;
            bed.jailing(late).await?;
            child.kill().await?;
            ensure!(!adopted_or_nothing(&bed).await?, "{late} ms later");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_starter_killed_at_any_moment_leaves_a_jailed_vm_or_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let mut nothing = 0;
        for step in 0..16 {
            let mut child = starter(&bed, &[])?;
            tokio::time::sleep(Duration::from_millis(step * 20)).await;
            child.kill().await?;
            let left = adopted_or_nothing(&bed).await.with_context(|| format!("step {step}"))?;
            nothing += u32::from(!left);
        }
        ensure!(nothing > 0);
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_starter_killed_while_it_saves_or_restores_leaves_what_can_be_used_or_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (golden, unfinished) = (bed.path(GOLDEN), bed.path("golden.new"));
        fs::write(bed.path(DEED), SAVE)?;
        for step in 0..8 {
            let mut child = starter(&bed, &[])?;
            while !unfinished.exists() && child.try_wait()?.is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(step * 40)).await;
            child.kill().await?;
            adopted_or_nothing(&bed).await.with_context(|| format!("saved for {step} steps"))?;
            // Whole or not there, whatever was left beside it.
            ensure!(!golden.exists() || Snapshot::open(&golden).is_ok(), "step {step}");
        }
        let status = starter(&bed, &[])?.wait().await?;
        ensure!(status.success() && !unfinished.exists(), "{status}");
        bed.nothing_left()?;

        fs::write(bed.path(DEED), RESTORE)?;
        let mut seen = [0, 0];
        for step in 0..12 {
            let mut child = starter(&bed, &[])?;
            tokio::time::sleep(Duration::from_millis(step * 25)).await;
            child.kill().await?;
            let left =
                adopted_or_nothing(&bed).await.with_context(|| format!("restored for {step} steps"))?;
            seen[usize::from(left)] += 1;
        }
        ensure!(seen[0] > 0, "{seen:?}");
        Snapshot::open(&golden)?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_service_that_may_not_make_devices_is_told_what_it_lacks() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let mut child = starter(&bed, &["setpriv", "--bounding-set=-mknod,-setuid", "--"])?;
        let mut said = String::new();
        child.stderr.take().context("its words")?.read_to_string(&mut said).await?;
        child.stdout.take().context("its words")?.read_to_string(&mut said).await?;
        child.wait().await?;
        let why = "VMs cannot be jailed without CAP_MKNOD, CAP_SETUID: run the service as root with these \
                   capabilities, or ask for no jail";
        ensure!(said.contains(why), "{said}");
        ensure!(!bed.run("1").path().exists(), "a folder was made");
        Ok(())
    })
    .await
}

/// As root has with these alone; a TAP device takes that of the network beside them.
#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn seven_capabilities_are_enough() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let powers = "-all,+sys_admin,+mknod,+setuid,+setgid,+chown,+fowner,+dac_override";
        let mut child = starter(&bed, &["setpriv", &format!("--bounding-set={powers}"), "--"])?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await? {
            said.push(line);
            if said.last().is_some_and(|line| line.contains(STARTED)) {
                break;
            }
        }
        ensure!(said.iter().any(|line| line.contains(STARTED)), "{said:?}");
        child.kill().await?;
        ensure!(adopted_or_nothing(&bed).await?, "the VM is gone");
        Ok(())
    })
    .await
}
