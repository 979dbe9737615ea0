//! What does not let a VM be jailed, and what is left then: nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{Firecracker, Jailer, Monitor as _, UserIds, VmSpec};
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, NEEDS};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn programs_that_cannot_jail_or_be_jailed_are_told_before_anything_is_made() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let spec = bed.spec("1")?;
        let mut options = bed.options()?;
        options.jailer = Jailer::Program("/no/such/jailer".into());
        let monitor = Firecracker::new(options.clone());
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(
            why.starts_with("/no/such/jailer: not found: it is beside firecracker in a release"),
            "{why}"
        );
        ensure!(monitor.check_jailer().await.is_err_and(|same| same.to_string() == why));

        let other = bed.path("other");
        fs::write(&other, "#!/bin/sh\necho Jailer v1.99.0\n")?;
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755))?;
        options.jailer = Jailer::Program(other);
        let why = bed.refused(&Firecracker::new(options), &spec).await?.to_string();
        ensure!(why.contains("is of Firecracker 1.99.0, and the other program is"), "{why}");

        let mut options = bed.options()?;
        let version = Firecracker::new(options.clone()).check().await?.1;
        options.program = bed.path("script");
        fs::write(&options.program, format!("#!/bin/sh\necho Firecracker v{version}\n"))?;
        fs::set_permissions(&options.program, fs::Permissions::from_mode(0o755))?;
        let why = bed.refused(&Firecracker::new(options), &spec).await?.to_string();
        ensure!(why.ends_with("script: is no ELF program"), "{why}");
        ensure!(!bed.run("1").path().exists(), "a folder was made");

        let monitor = bed.monitor()?;
        ensure!(monitor.check_jailer().await?.is_some_and(|path| path == vm_testbed::jailer().unwrap()));
        ensure!(
            Firecracker::new({
                let mut options = bed.options()?;
                options.jailer = Jailer::Off;
                options
            })
            .check_jailer()
            .await?
            .is_none()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn users_that_a_vm_cannot_have_alone_are_refused() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (monitor, spec) = (bed.monitor()?, bed.spec("1")?);
        for user in [None, Some(UserIds { uid: 0, gid: 7 }), Some(UserIds { uid: 7, gid: 0 })] {
            let why = bed.refused(&monitor, &VmSpec { user, ..spec.clone() }).await?.to_string();
            ensure!(why.starts_with("seat demo/1: a jailed monitor is not root: give it a user"), "{why}");
        }
        // Not one of the seats' of this bed, whose processes are looked for.
        let uid = bed.user("1").uid + 90;
        let mut sleeper = Command::new("setpriv")
            .args([&format!("--reuid={uid}"), "--clear-groups", "--", "sleep", "600"])
            .spawn()?;
        let pid = sleeper.id();
        while fs::metadata(format!("/proc/{pid}"))?.uid() != uid {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let used = VmSpec { user: Some(UserIds { uid, gid: uid }), ..spec.clone() };
        let why = bed.refused(&monitor, &used).await.map(|why| why.to_string());
        sleeper.kill()?;
        sleeper.wait()?;
        let wanted = format!(
            "seat demo/1: user {uid} has a process already, {pid}: a jailed VM needs a user of its own"
        );
        ensure!(why.as_deref().is_ok_and(|why| why == wanted), "{why:?}");
        monitor.start(&used).await?.kill().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn files_that_cannot_be_in_a_jail_are_refused_with_what_to_do() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (monitor, spec) = (bed.monitor()?, bed.spec("1")?);
        let mut open = spec.clone();
        open.initramfs = bed.path("open");
        fs::write(&open.initramfs, "x")?;
        fs::set_permissions(&open.initramfs, fs::Permissions::from_mode(0o666))?;
        let why = bed.refused(&monitor, &open).await?.to_string();
        ensure!(
            why.starts_with("seat demo/1: /") && why.contains("open is shared by VMs, and could be written"),
            "{why}"
        );

        fs::hard_link(bed.path("1/data.img"), bed.path("backup"))?;
        let why = monitor.start(&spec).await.map(drop).unwrap_err().to_string();
        ensure!(why.contains("data.img has 2 names, and a seat's own disk has one"), "{why}");
        fs::remove_file(bed.path("backup"))?;

        let other = tempfile::tempdir_in("/dev/shm")?;
        if fs::metadata(other.path())?.dev() == fs::metadata(bed.path("1"))?.dev() {
            vm_testbed::skip("/dev/shm is on the same file system as temporary folders");
            return Ok(());
        }
        let mut far = spec.clone();
        far.drives[0].path = other.path().join("rootfs.ext4");
        fs::copy(bed.path("rootfs.ext4"), &far.drives[0].path)?;
        let why = bed.refused(&monitor, &far).await?.to_string();
        ensure!(
            why.contains("is on another file system than ")
                && why.contains("keep images, kernels and seats on one"),
            "{why}"
        );
        // Without a jail it does not matter.
        let mut options = bed.options()?;
        options.jailer = Jailer::Off;
        far.user = None;
        let vm = Firecracker::new(options).start(&far).await?;
        bed.hears("1", BareMetal::GREETING).await?;
        ensure!(vm.identity().jail.is_none() && bed.left("1")?.contains(&"vmm".to_owned()));
        vm.kill().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn what_jailer_and_monitor_refuse_is_told_in_their_words() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let mut spec = bed.spec("1")?;
        bed.wrap_jailer("echo it is too dark >&2; exit 7")?;
        let why = bed.refused(&bed.monitor()?, &spec).await?.to_string();
        let wanted = "seat demo/1: the VM ended while it started: the VM monitor gave up with exit code 7: it is too dark";
        ensure!(why == wanted, "{why}");

        // It has its version, and is no program any more when it is started.
        bed.wrap_jailer("true")?;
        let script = fs::read_to_string(bed.path("jailer"))?;
        fs::write(bed.path("jailer"), script.replace("#!/bin/sh\n", "#!/bin/sh\n[ \"$1\" = --version ] && mv FOLDER/jailer FOLDER/gone\n").replace("FOLDER", &bed.path("").display().to_string()))?;
        let why = bed.refused(&bed.monitor()?, &spec).await?.to_string();
        ensure!(why.starts_with("seat demo/1: ") && why.contains("jailer: No such file or directory"), "{why}");

        fs::write(bed.path("nothing"), b"\x7fELF and nothing else")?;
        spec.kernel = bed.path("nothing");
        let why = bed.refused(&bed.monitor()?, &spec).await?.to_string();
        ensure!(why.starts_with("seat demo/1: PUT /actions: Firecracker refuses:"), "{why}");
        Ok(())
    })
    .await
}
