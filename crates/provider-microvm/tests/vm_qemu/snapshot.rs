//! A guest is saved, and others go on from there.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{Snapshot, UserIds, Vm, VmSpec, VmmError};
use vm_testbed::{Mapping, Need, SmallDisk, can_run};

use crate::guest::{Guest, ended, monitor, shell};

const IMAGE: &str = "sha256:0123";

/// The guest with a disk, which has this content.
fn spec(guest: &Guest, content: &str) -> Result<VmSpec> {
    let mut spec = guest.spec();
    spec.drives = vec![guest.drive("data", false)?];
    fs::File::options().write(true).open(&spec.drives[0].path)?.write_all_at(content.as_bytes(), 0)?;
    Ok(spec)
}

/// Boots a guest, has it write something into its memory, and saves it.
async fn save(guest: &Guest, folder: &Path) -> Result<(), VmmError> {
    let spec = spec(guest, "gold").expect("its disk");
    let savable = monitor().start_to_save(&spec, IMAGE).await?;
    shell(savable.vm(), "echo from before >/mark").await.expect("it answers");
    monitor().save(savable, folder).await
}

fn golden(guest: &Guest) -> PathBuf {
    guest.path().join("golden")
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn two_guests_go_on_from_one_that_was_saved_each_by_itself() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let (saved, one, two) = (Guest::new()?, Guest::new()?, Guest::new()?);
    let test = async {
        save(&saved, &golden(&saved)).await?;
        let snapshot = Snapshot::open(&golden(&saved))?;
        // It is not needed any more.
        fs::remove_dir_all(golden(&saved))?;
        let mut specs = [spec(&one, "one1")?, spec(&two, "two2")?];
        for (number, spec) in (0..).zip(&mut specs) {
            spec.user = Some(UserIds { uid: 64_341 + number, gid: 64_341 + number });
        }
        let going_on = async {
            let monitor = monitor();
            let start = |number: usize| monitor.restore(&specs[number], IMAGE, &snapshot);
            let (one, two) = tokio::try_join!(start(0), start(1))?;
            for (vm, other, content) in [(&one, &two, "one1"), (&two, &one, "two2")] {
                ensure!(shell(vm, "cat /mark").await? == "from before");
                ensure!(shell(vm, "head -c 4 /dev/vda").await? == content);
                ensure!(shell(vm, "cat /sys/block/vda/size").await? == "32768");
                shell(vm, &format!("echo {content} >/own; echo {content}-back | dd of=/dev/vda conv=fsync"))
                    .await?;
                ensure!(
                    shell(other, &format!("grep -c {content} /own || echo none")).await?.ends_with("none")
                );
            }
            // What neither has written is there once.
            let memory = |vm: &Vm| Mapping::of(vm.identity().vmm.pid, "memfd:guest-memory");
            let (first, second) = (memory(&one)?, memory(&two)?);
            ensure!(first == second && first.permissions == "rw-p", "{first:?} {second:?}");
            one.kill().await?;
            ensure!(shell(&two, "cat /own").await? == "two2");
            two.kill().await?;
            Ok(())
        };
        Box::pin(ended(&one, Box::pin(ended(&two, Box::pin(going_on))))).await?;
        for (spec, content) in specs.iter().zip(["one1-back\n", "two2-back\n"]) {
            let mut bytes = [0; 10];
            fs::File::open(&spec.drives[0].path)?.read_exact_at(&mut bytes, 0)?;
            ensure!(bytes == content.as_bytes(), "{}", String::from_utf8_lossy(&bytes));
        }
        Ok(())
    };
    Box::pin(ended(&saved, Box::pin(test))).await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn what_was_made_of_something_else_is_not_started() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let (saved, seat) = (Guest::new()?, Guest::new()?);
    let test = async {
        let folder = golden(&saved);
        save(&saved, &folder).await?;
        let spec = spec(&seat, "seat")?;
        let restored = async |spec: &VmSpec, image: &str| {
            let snapshot = Snapshot::open(&folder)?;
            let refused = monitor().restore(spec, image, &snapshot).await.err().context("it was started")?;
            anyhow::Ok(refused.to_string())
        };
        let refusals = async {
            let larger = VmSpec { memory_mib: 256, ..spec.clone() };
            let said = restored(&larger, IMAGE).await?;
            ensure!(said.contains("was made with MiB of memory 192, and here it is 256;"), "{said}");
            let said = restored(&spec, "sha256:4567").await?;
            ensure!(said.contains("with the image sha256:0123, and here it is sha256:4567;"), "{said}");

            let described = folder.join("snapshot.json");
            let text = fs::read_to_string(&described)?;
            let version = monitor().check().await?.1.to_string();
            fs::write(&described, text.replace(&format!("{version:?}"), "\"6.1.9\""))?;
            let said = restored(&spec, IMAGE).await?;
            let wanted = format!(
                "golden was made with the monitor's version 6.1.9, and here it is {version}; it has to be made anew"
            );
            ensure!(said.starts_with("seat demo/1: the snapshot ") && said.ends_with(&wanted), "{said}");
            fs::write(&described, &text)?;
            ensure!(!seat.run_folder().path().exists(), "something was started");

            // What QEMU itself does not understand: it ends, and its words are told.
            let state = folder.join("state");
            let size = fs::metadata(&state)?.len();
            fs::write(&state, vec![b'x'; usize::try_from(size)?])?;
            let said = restored(&spec, IMAGE).await?;
            ensure!(said.contains("the VM ended while it started") && said.contains("migration"), "{said}");
            Ok(())
        };
        Box::pin(ended(&seat, Box::pin(refusals))).await
    };
    Box::pin(ended(&saved, Box::pin(test))).await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_snapshot_for_which_there_is_no_room_leaves_nothing() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let saved = Guest::new()?;
    let small = SmallDisk::new(4 << 10)?;
    let test = async {
        let folder = small.path().join("golden");
        let said = save(&saved, &folder).await.err().context("4 MiB are enough")?.to_string();
        ensure!(said.contains("golden: writing its memory: No space left on device"), "{said}");
        ensure!(fs::read_dir(small.path())?.next().is_none(), "something was left");
        let said = Snapshot::open(&folder).err().context("it is there")?.to_string();
        ensure!(said.contains("is not whole: there is no snapshot.json"), "{said}");
        Ok(())
    };
    Box::pin(ended(&saved, Box::pin(test))).await
}
