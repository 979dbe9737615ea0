//! A jailed VM is saved, and others go on from there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    Firecracker, How, InterfaceName, Jailer, MacAddress, Monitor as _, Nic, Snapshot, Snapshots as _,
    Throttle, Vm, VmSpec, VmmError,
};
use vm_testbed::{BareMetal, Mapping, Namespace, SmallDisk, can_run};

use crate::bed::{Bed, NEEDS, firecracker};

const IMAGE: &str = "sha256:0123";

fn golden(bed: &Bed) -> PathBuf {
    bed.path("golden")
}

/// Boots a guest of this specification and saves it.
async fn save(bed: &Bed, spec: &VmSpec) -> Result<()> {
    let monitor = bed.monitor()?;
    let savable = monitor.start_to_save(spec, IMAGE).await?;
    bed.hears("1", BareMetal::GREETING).await?;
    monitor.save(savable, &golden(bed)).await?;
    bed.nothing_left()
}

/// Saves a guest of the first seat; its monitor, its specification, and where it is saved.
async fn saved(bed: &Bed) -> Result<(Firecracker, VmSpec, PathBuf)> {
    let spec = bed.spec("1")?;
    save(bed, &spec).await?;
    Ok((bed.monitor()?, spec, golden(bed)))
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn two_jailed_vms_go_on_from_one_that_was_saved_each_by_itself() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.make_seat("2")?;
    let namespace = Namespace::new()?;
    let specs = ["1", "2"].map(|seat| {
        let mut spec = bed.spec(seat)?;
        spec.network_namespace = Some(namespace.file());
        let tap = format!("ctt{seat}");
        namespace.add_tap(&tap, Some(bed.user(seat).uid))?;
        spec.nics = vec![Nic { tap: InterfaceName::new(&tap)?, mac: MacAddress([2, 0, 0, 0, 0, 0]) }];
        anyhow::Ok(spec)
    });
    let [one, two] = specs;
    let (mut one, two) = (one?, two?);
    bed.ended(async {
        save(&bed, &one).await?;
        fs::remove_file(bed.path("1/console.log"))?;
        let snapshot = Snapshot::open(&golden(&bed))?;
        let name = bed.monitor()?.traits(&two, IMAGE).await?.name();
        ensure!(name == snapshot.traits().name(), "another disk, and TAP device, is no difference");
        one.drives[1].throttle = Some(Throttle { bytes_per_second: 1 << 20, operations_per_second: 10 });
        let monitor = bed.monitor()?;
        let (first, second) = tokio::try_join!(
            monitor.restore(&one, IMAGE, &snapshot),
            monitor.restore(&two, IMAGE, &snapshot)
        )?;
        for vm in [&first, &second] {
            vm.pause().await?;
            vm.resume().await?;
        }
        ensure!(namespace.is_held("ctt1") && namespace.is_held("ctt2"), "its interface is not its own");
        // What neither has written is there once, and what they write is their own.
        let memory = |vm: &Vm| anyhow::Ok(Mapping::of(firecracker(vm)?, "/memory")?);
        let (maps, others) = (memory(&first)?, memory(&second)?);
        ensure!(maps == others && maps.permissions == "rw-p", "{maps:?} {others:?}");
        let sum = || anyhow::Ok(fs::read(golden(&bed).join("memory"))?);
        let before = sum()?;
        let place = first.identity().jail.clone().context("it is jailed")?;
        ensure!(bed.run("1").path().join(place).join("agent.sock").exists());

        first.press_power().await?;
        ensure!(first.exited().await?.how == How::Code(0));
        // It ran on from where the saved one waited, and did not begin.
        ensure!(bed.console("1") == "1 key\n", "{:?}", bed.console("1"));
        let adopted = bed.adopt("2").await?.context("the other one runs")?;
        adopted.press_power().await?;
        ensure!(adopted.exited().await?.how == How::Code(0));
        ensure!(bed.console("2") == "1 key\n", "{:?}", bed.console("2"));
        ensure!(sum()? == before, "the memory has changed");
        let memory = fs::metadata(golden(&bed).join("memory"))?;
        ensure!((memory.uid(), memory.nlink()) == (0, 1));
        // Nothing but zeros is not written.
        ensure!(memory.blocks() * 512 < 8 << 20, "{} blocks", memory.blocks());
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn what_a_jailed_vm_cannot_go_on_from_is_refused() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (monitor, spec, folder) = saved(&bed).await?;
        let restored = async |spec: &VmSpec, image: &str| {
            let snapshot = Snapshot::open(&folder)?;
            let refused = monitor.restore(spec, image, &snapshot).await.err().context("it was started")?;
            bed.nothing_left()?;
            anyhow::Ok(refused.to_string())
        };
        let larger = VmSpec { memory_mib: 128, ..spec.clone() };
        let said = restored(&larger, IMAGE).await?;
        ensure!(said.contains("was made with MiB of memory 64, and here it is 128;"), "{said}");
        let said = restored(&spec, "sha256:4567").await?;
        ensure!(said.contains("with the image sha256:0123, and here it is sha256:4567;"), "{said}");
        let other = VmSpec { command_line: "loud".into(), ..spec.clone() };
        let said = restored(&other, IMAGE).await?;
        ensure!(said.contains("with the machine ") && said.contains(" quiet 0 interfaces "), "{said}");

        let described = folder.join("snapshot.json");
        let text = fs::read_to_string(&described)?;
        let version = monitor.check().await?.1.to_string();
        fs::write(&described, text.replace(&format!("{version:?}"), "\"1.16.9\""))?;
        let said = restored(&spec, IMAGE).await?;
        let wanted =
            format!("with the monitor's version 1.16.9, and here it is {version}; it has to be made anew");
        ensure!(said.starts_with("seat demo/1: the snapshot ") && said.ends_with(&wanted), "{said}");
        fs::write(&described, &text)?;

        // What Firecracker itself does not understand.
        let state = fs::read(folder.join("state"))?;
        fs::write(folder.join("state"), vec![b'x'; state.len()])?;
        let said = restored(&spec, IMAGE).await?;
        // It says so, and ends itself.
        ensure!(said.contains(" cannot be loaded: ") || said.contains("ended while it started"), "{said}");
        fs::write(folder.join("state"), state)?;

        // What is gone by the time that it is wanted.
        let snapshot = Snapshot::open(&folder)?;
        fs::rename(&folder, bed.path("kept"))?;
        monitor.restore(&spec, IMAGE, &snapshot).await?.kill().await?;
        fs::remove_dir_all(bed.path("kept"))?;
        let said = monitor.restore(&spec, IMAGE, &snapshot).await.map(drop).unwrap_err();
        ensure!(
            matches!(said, VmmError::Snapshot { .. }) && said.to_string().contains("its memory was removed"),
            "{said}"
        );

        let mut options = bed.options()?;
        options.jailer = Jailer::Off;
        let said =
            Firecracker::new(options).start_to_save(&spec, IMAGE).await.map(drop).unwrap_err().to_string();
        ensure!(
            said.contains("names disks by their paths, which are the same for all VMs in jails only"),
            "{said}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn memory_that_is_cut_short_is_refused_and_ends_whoever_has_it() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.ended(async {
        let (monitor, spec, folder) = saved(&bed).await?;
        let snapshot = Snapshot::open(&folder)?;
        let vm = monitor.restore(&spec, IMAGE, &snapshot).await?;
        fs::File::options().write(true).open(folder.join("memory"))?.set_len(4096)?;
        // By a signal or because its guest finds no memory, whichever comes first.
        vm.exited().await?;
        bed.nothing_left()?;
        let said = Snapshot::open(&folder).map(drop).unwrap_err().to_string();
        ensure!(
            said.contains("is not whole: memory has 4096 bytes of 67108864; it has to be made anew"),
            "{said}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_jailed_snapshot_for_which_there_is_no_room_leaves_nothing() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    // Enough for the programs, and not for the guest's memory.
    let small = SmallDisk::new(40 << 10)?;
    let bed = Bed::within(small.path())?;
    bed.ended(async {
        let monitor = bed.monitor()?;
        let savable = monitor.start_to_save(&bed.spec("1")?, IMAGE).await?;
        let said = monitor.save(savable, &golden(&bed)).await.unwrap_err().to_string();
        ensure!(said.starts_with("seat demo/1: PUT /snapshot/create: Firecracker refuses:"), "{said}");
        monitor.clear("demo/1", &bed.run("1")).await?;
        bed.nothing_left()?;
        ensure!(!golden(&bed).exists() && !bed.path("golden.new").exists());
        Ok(())
    })
    .await
}
