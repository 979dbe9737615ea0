//! Starts, adopts and ends VMs that QEMU runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::arguments::{Acceleration, CommandLine, drive_id};
use super::{Version, binary};
use crate::vmm::keeper::client::Launching;
use crate::vmm::keeper::{GENERATION, Launch};
use crate::vmm::vm::{Pending, adopt, clear};
use crate::vmm::{Accelerator, KeeperCommand, Monitor, MonitorKind, RunFolder, Vm, VmSpec, VmmError};

/// How QEMU is used.
#[derive(Clone, Debug)]
pub struct QemuOptions {
    /// The program: a path, or a name that is looked for in the `PATH`.
    pub program: PathBuf,
    /// What keeps VMs.
    pub keeper: KeeperCommand,
    /// How many MiB TCG may use for translated code. It counts against the VM's cgroup.
    pub translation_buffer_mib: u32,
}

impl QemuOptions {
    /// `qemu-system-x86_64` with a buffer of 128 MiB.
    #[must_use]
    pub fn new(keeper: KeeperCommand) -> Self {
        Self { program: "qemu-system-x86_64".into(), keeper, translation_buffer_mib: 128 }
    }
}

/// QEMU as a monitor.
#[derive(Debug)]
pub struct Qemu {
    options: QemuOptions,
    /// The program that was checked last, as it was then.
    checked: Mutex<Option<(FileIdentity, Version)>>,
}

/// A file as it was: device, inode, size, time of change in nanoseconds.
type FileIdentity = (PathBuf, u64, u64, u64, i64, i64);

impl Qemu {
    /// A monitor; nothing is looked at yet.
    #[must_use]
    pub fn new(options: QemuOptions) -> Self {
        Self { options, checked: Mutex::new(None) }
    }

    /// Looks for the program and asks for its version, unless that is known of this very file.
    ///
    /// # Errors
    /// [`VmmError::Binary`] with what is wrong with it and what to do.
    pub async fn check(&self) -> Result<(PathBuf, Version), VmmError> {
        let program = binary::find(&self.options.program)?;
        let mut checked = self.checked.lock().await;
        let now = file_identity(&program);
        match (&*checked, &now) {
            (Some((then, version)), Some(now)) if then == now => Ok((program, *version)),
            _ => {
                let version = binary::check(&program).await?;
                *checked = now.map(|now| (now, version));
                Ok((program, version))
            }
        }
    }

    fn acceleration(&self, spec: &VmSpec) -> Result<Acceleration, VmmError> {
        match spec.accelerator {
            Accelerator::Kvm => Ok(Acceleration::Kvm),
            Accelerator::Auto | Accelerator::Tcg => {
                Ok(Acceleration::Tcg { buffer_mib: self.options.translation_buffer_mib })
            }
        }
    }

    fn launch(&self, spec: &VmSpec, program: PathBuf, line: CommandLine) -> Launch {
        Launch {
            generation: GENERATION,
            seat: spec.seat.clone(),
            monitor: MonitorKind::Qemu,
            folder: spec.folder.path().to_owned(),
            program,
            arguments: line.arguments,
            descriptors: line.descriptors,
            user: spec.user,
            groups: Vec::new(),
            cgroup: spec.cgroup.clone(),
            console: spec.console.clone(),
        }
    }
}

#[async_trait]
impl Monitor for Qemu {
    fn kind(&self) -> MonitorKind {
        MonitorKind::Qemu
    }

    async fn start(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        let seat = &spec.seat;
        spec.check().map_err(|why| VmmError::Spec { seat: seat.clone(), why })?;
        let acceleration = self.acceleration(spec)?;
        let (program, _) = self.check().await?;
        let launch = self.launch(spec, program, CommandLine::of(spec, acceleration));
        let launching = Launching::start(&self.options.keeper, &launch).await?;
        let pending = Pending::new(launching, spec, MonitorKind::Qemu)?;
        pending.finish(|control| ready(control, spec)).await
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Vm>, VmmError> {
        adopt(MonitorKind::Qemu, seat, folder).await
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        clear(seat, folder).await
    }
}

/// From QEMU's greeting to running processors.
async fn ready(control: Arc<super::Control>, spec: &VmSpec) -> Result<(), VmmError> {
    let monitor = |why| VmmError::Monitor { seat: spec.seat.clone(), why };
    let qmp = control.qmp().await.map_err(monitor)?;
    for drive in &spec.drives {
        if let Some(throttle) = drive.throttle {
            qmp.set_throttle(&drive_id(drive.serial.as_str()), throttle).await.map_err(monitor)?;
        }
    }
    qmp.cont().await.map_err(monitor)
}

fn file_identity(path: &Path) -> Option<FileIdentity> {
    let data = std::fs::metadata(path).ok()?;
    Some((path.to_owned(), data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
}
