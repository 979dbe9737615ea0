//! Saves VMs of Firecracker, and starts others from what was saved (docs/snapshotting/snapshot-support.md of Firecracker).
//!
//! ```text
//!   save      pause ─► Firecracker writes memory and state into its jail ─► the VM ends ─► files of the snapshot
//!   restore   memory and state are further files of a fresh jail, which Firecracker maps privately ─► load ─► throttles ─► resume
//! ```
//!
//! A snapshot names the drives by their paths and cannot be told others, so it takes a jail, where they have the same names for all seats. TAP devices, the
//! vsock device's socket and the clock can be told.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use super::prepare::More;
use super::{BALLOON, Firecracker, Jailer, boot, command_line, counting};
use crate::vmm::firecracker::control::{drive_id, setting};
use crate::vmm::firecracker::{
    Api, Attached, DeviceId, DrivePatch, MemoryBackend, NetworkOverride, SnapshotFiles, SnapshotLoad,
    SnapshotType, Trouble,
};
use crate::vmm::jail::{Access, FileName, JailFile};
use crate::vmm::snapshot::{self, Here, Memory, SnapshotError, Unfinished, blocking, this_processor};
use crate::vmm::{
    MonitorKind, Savable, Snapshot, Snapshots, SpecError, Throttle, Traits, Vm, VmSpec, VmmError, folder,
    saved,
};

/// What the files are called where Firecracker begins: in its `/`.
const MEMORY: &str = "memory";
const STATE: &str = "state";
/// More than any state has, in bytes: what Firecracker may write there is up to whoever took it over.
const LARGEST_STATE: u64 = 64 << 20;

#[async_trait]
impl Snapshots for Firecracker {
    async fn traits(&self, spec: &VmSpec, image: &str) -> Result<Traits, VmmError> {
        if self.options.jailer == Jailer::Off {
            let why = "a snapshot of Firecracker names disks by their paths, which are the same for all VMs in jails only";
            return Err(VmmError::Spec { seat: spec.seat.clone(), why: SpecError::Bound(why.into()) });
        }
        let (program, version) = self.check().await?;
        let here = Here {
            monitor: MonitorKind::Firecracker,
            version: version.to_string(),
            program: &program,
            processor: this_processor(&spec.seat)?,
            // The guest's kernel has read the one, and found the others.
            machine: vec![
                command_line(&spec.drives, &spec.command_line),
                format!("{} interfaces", spec.nics.len()),
                format!("{BALLOON:?}"),
            ],
        };
        self.digests.traits(spec, image, here).await
    }

    async fn start_to_save(&self, spec: &VmSpec, image: &str) -> Result<Savable, VmmError> {
        let traits = self.traits(spec, image).await?;
        let memory = u64::from(spec.memory_mib) << 20;
        let more = More { files: Vec::new(), largest_file: memory.max(LARGEST_STATE) };
        let mut spec = spec.clone();
        if let Some(cgroup) = &mut spec.cgroup {
            // What it writes counts as its own, for good where the file is in memory.
            cgroup.memory_bytes += memory;
        }
        let vm = self.run(&spec, more, |api, seen| async move { boot(api, &seen).await }).await?;
        Ok(Savable { vm, traits, memory: None })
    }

    /// What Firecracker writes down in its jail, and the copy of it that nobody else can write to.
    fn files_of_memory(&self) -> u32 {
        2
    }

    async fn save(&self, savable: Savable, folder: &Path) -> Result<(), VmmError> {
        let Savable { vm, traits, .. } = savable;
        let seat = vm.identity().seat.clone();
        let refused = |why| VmmError::Snapshot { seat: seat.clone(), why };
        let at = folder.to_owned();
        let unfinished = blocking(folder, move || snapshot::write(&at)).await.map_err(refused)?;
        let sockets = vm.identity().sockets(vm.folder());
        let mut limits = self.options.limits;
        // The other half is for copying, syncing and reading again. Who waits for all of it at once is not told what took so long.
        limits.snapshot = limits.snapshot.min(saved(traits.memory_mib) / 2);
        let api = super::super::api(&seat, &sockets).within(limits);
        let paused = match Attached::attach(api).await? {
            Attached::Running(machine) => machine.pause().await?,
            Attached::Paused(machine) => machine,
        };
        let (snapshot_path, mem_file_path) = (STATE.into(), MEMORY.into());
        let files = SnapshotFiles { snapshot_path, mem_file_path, snapshot_type: SnapshotType::Full };
        paused.create_snapshot(&files).await?;
        // They go with the jail, but for who has them open.
        let opened =
            |name| opened(&sockets, name).map_err(VmmError::io(&seat, format!("opening the guest's {name}")));
        let (memory, state) = (opened(MEMORY)?, opened(STATE)?);
        // Nobody writes to them any more.
        vm.kill().await?;
        let at = folder.to_owned();
        blocking(folder, move || finish(&at, unfinished, memory, &state, traits)).await.map_err(refused)
    }

    async fn restore(&self, spec: &VmSpec, image: &str, from: &Snapshot) -> Result<Vm, VmmError> {
        let refused = |why| VmmError::Snapshot { seat: spec.seat.clone(), why };
        from.fits(&self.traits(spec, image).await?).map_err(refused)?;
        let mut files = Vec::new();
        for (name, source) in [(MEMORY, from.memory().path()), (STATE, from.state_path())] {
            files.push(linkable(from.folder(), name, source).map_err(refused)?);
        }
        let more = More { files, largest_file: 0 };
        self.run(spec, more, |api, seen| async move { go_on(api, &seen, from.folder()).await }).await
    }
}

/// From a process to processors that run on.
async fn go_on(api: Arc<Api>, spec: &VmSpec, from: &Path) -> Result<(), VmmError> {
    let fresh = counting(&api, spec).await?;
    let mut network_overrides = Vec::new();
    for (number, nic) in spec.nics.iter().enumerate() {
        let iface_id = DeviceId::new(&format!("eth{number}")).map_err(|why| setting(&spec.seat, why))?;
        network_overrides.push(NetworkOverride { iface_id, host_dev_name: nic.tap.clone() });
    }
    let load = SnapshotLoad {
        snapshot_path: STATE.into(),
        mem_backend: MemoryBackend::File(MEMORY.into()),
        track_dirty_pages: false,
        network_overrides,
        vsock_override: Some(folder::AGENT.into()),
        // Its agent gets the time with its configuration. Firecracker refuses this where the guest's clock is not the TSC.
        clock_realtime: false,
    };
    let loaded = fresh.load(&load).await.map_err(|why| match why.trouble {
        Trouble::Refused { fault, .. } => {
            let why = SnapshotError::Refused { folder: from.to_owned(), fault };
            VmmError::Snapshot { seat: spec.seat.clone(), why }
        }
        _ => why.into(),
    })?;
    for drive in &spec.drives {
        // Those of the VM that was saved are in the snapshot.
        let none = Throttle { bytes_per_second: 0, operations_per_second: 0 };
        let rate_limiter = Some(drive.throttle.unwrap_or(none).into());
        let drive_id = drive_id(&spec.seat, &drive.serial)?;
        loaded.patch_drive(&DrivePatch { drive_id, path_on_host: None, rate_limiter }).await?;
    }
    let running = loaded.resume().await?;
    tracing::debug!(seat = spec.seat, version = %running.version(), "Firecracker goes on");
    Ok(())
}

/// A file of a snapshot, for a jail.
fn linkable(folder: &Path, name: &str, source: PathBuf) -> Result<JailFile, SnapshotError> {
    let about = fs::metadata(&source).map_err(SnapshotError::io(folder, format!("looking at its {name}")))?;
    let incomplete = |why: String| SnapshotError::Incomplete { folder: folder.to_owned(), why };
    if about.nlink() == 0 {
        // The kernel gives no new name to what has none (linkat(2)).
        return Err(incomplete(format!("its {name} was removed")));
    }
    let name = FileName::new(name).ok_or_else(|| incomplete(format!("{name} is no name")))?;
    Ok(JailFile { source, name, access: Access::Shared })
}

/// A file that a monitor has written, whatever it is: a link is not followed.
fn opened(folder: &Path, name: &str) -> io::Result<File> {
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, place, Mode::empty())?;
    // A named pipe would wait for its other end.
    let file = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&folder, name, file, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"));
    }
    Ok(file.into())
}

fn finish(
    folder: &Path,
    unfinished: Unfinished,
    memory: File,
    mut state: &File,
    traits: Traits,
) -> Result<(), SnapshotError> {
    let memory = Memory::of(memory, traits.memory_mib);
    let memory = memory.map_err(SnapshotError::io(folder, "looking at the guest's memory"))?;
    let copied = io::copy(&mut io::Read::take(&mut state, LARGEST_STATE), &mut unfinished.state());
    if copied.map_err(SnapshotError::io(folder, "writing its state"))? == LARGEST_STATE {
        let why = format!("the state has {LARGEST_STATE} bytes or more");
        return Err(SnapshotError::Incomplete { folder: folder.to_owned(), why });
    }
    unfinished.finish(&memory, traits)
}
