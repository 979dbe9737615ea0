//! A disk on which there is no room for a jail.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};
use vm_testbed::{BareMetal, SmallDisk, can_run};

use crate::bed::{Bed, NEEDS};

fn room(small: &SmallDisk) -> Result<StatVfs> {
    Ok(statvfs(small.path())?)
}

/// Takes all room of a disk but so many bytes.
fn fill(small: &SmallDisk, but: u64) -> Result<()> {
    let room = room(small)?;
    let takes = (room.f_bavail * room.f_frsize).saturating_sub(but);
    let filler = fs::File::create(small.path().join("filler"))?;
    Ok(fallocate(&filler, FallocateFlags::empty(), 0, takes)?)
}

/// Leaves room for so many files; for as many as anybody wants when there is no number.
fn limit_files(small: &SmallDisk, but: Option<u64>) -> Result<()> {
    let room = room(small)?;
    let most = but.map_or(1 << 20, |but| room.f_files - room.f_ffree + but);
    let mut mount = Command::new("mount");
    let status = mount.args(["-o", &format!("remount,nr_inodes={most}")]).arg(small.path()).status()?;
    ensure!(status.success(), "{mount:?}: {status}");
    Ok(())
}

/// Looks whether a VM does not start and why is told, with what to do; and whether nothing is left of it then, also on a disk that is full still.
async fn is_told(bed: &Bed, room: &str) -> Result<()> {
    let why = bed.refused(&bed.monitor()?, &bed.spec("1")?).await.with_context(|| room.to_owned())?;
    let why = why.to_string();
    let says_what_to_do =
        why.contains("; free space or inodes on that disk") || why.contains(": free some there,");
    ensure!(why.starts_with("seat demo/1: ") && says_what_to_do, "{room}: {why}");
    bed.clear("1").await.with_context(|| room.to_owned())
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jail_for_which_there_is_no_room_leaves_nothing_and_is_told() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let small = SmallDisk::new(64 << 10)?;
    let bed = Bed::within(small.path())?;
    bed.ended(async {
        let program = fs::metadata(vm_testbed::firecracker()?)?.len();
        for bytes in [0, 4 << 10, 8 << 10, 64 << 10, program / 2, program - 1] {
            fill(&small, bytes)?;
            is_told(&bed, &format!("{bytes} bytes")).await?;
            fs::remove_file(small.path().join("filler"))?;
        }
        for files in [0, 1, 2, 3, 5, 8, 16, 32] {
            limit_files(&small, Some(files))?;
            is_told(&bed, &format!("{files} files")).await?;
            limit_files(&small, None)?;
        }
        // What another one takes after it was looked at.
        bed.wrap_jailer("/bin/dd if=/dev/zero of=FOLDER/filler bs=64k 2>/dev/null")?;
        is_told(&bed, "none any more").await?;
        fs::remove_file(bed.path("jailer"))?;
        fs::remove_file(bed.path("filler"))?;
        // It was the room alone.
        let vm = bed.start("1").await?;
        bed.hears("1", BareMetal::GREETING).await?;
        Ok(vm.kill().await?)
    })
    .await
}
