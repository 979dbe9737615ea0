//! Starts, adopts and ends VMs that QEMU runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::arguments::{Acceleration, CommandLine, Memory, drive_id};
use super::{Version, binary};
use crate::vmm::accelerator::{self, Accel};
use crate::vmm::keeper::{Expected, GENERATION, Keepers, Launch};
use crate::vmm::monitor::page_tables_mib;
use crate::vmm::program::Known;
use crate::vmm::snapshot::Digests;
use crate::vmm::vm::{self, adopt, clear};
use crate::vmm::{Accelerator, KeeperCommand, Monitor, MonitorKind, RunFolder, Vm, VmSpec, VmmError, limits};

mod snapshot;

/// What QEMU takes beside the guest's memory and TCG's buffer. Seen with QEMU 7.2 and two processors: 30 MiB of its program and libraries, which several
/// share, and some 50 MiB of its own, a part of which is the buffer's beginning.
const OWN_MIB: u32 = 96;

/// How QEMU is used.
#[derive(Clone, Debug)]
pub struct QemuOptions {
    /// The program: a path, or a name that is looked for in the `PATH`.
    pub program: PathBuf,
    /// What keeps VMs.
    pub keeper: KeeperCommand,
    /// How many MiB TCG may use for translated code. It counts against the VM's cgroup.
    pub translation_buffer_mib: u32,
    /// What runs guests on this host, when it is known; else it is found out when it matters.
    pub accelerator: Option<Accel>,
    /// How long the keeper's answer, and then QEMU's way to running processors, may take, each.
    pub start_timeout: Duration,
}

impl QemuOptions {
    /// `qemu-system-x86_64` with a buffer of 128 MiB, and a minute to start.
    #[must_use]
    pub fn new(keeper: KeeperCommand) -> Self {
        Self {
            program: "qemu-system-x86_64".into(),
            keeper,
            translation_buffer_mib: 128,
            accelerator: None,
            start_timeout: limits::START,
        }
    }
}

/// QEMU as a monitor.
#[derive(Debug)]
pub struct Qemu {
    options: QemuOptions,
    keepers: Keepers,
    checked: Known<Version>,
    accelerator: Arc<Mutex<Option<Accel>>>,
    /// Of files that snapshots depend on, as they were.
    digests: Digests,
}

impl Qemu {
    /// A monitor; nothing is looked at yet.
    #[must_use]
    pub fn new(options: QemuOptions) -> Self {
        let accelerator = Arc::new(Mutex::new(options.accelerator.clone()));
        let keepers = Keepers::new(options.keeper.clone(), false);
        Self { options, keepers, checked: Known::default(), accelerator, digests: Digests::default() }
    }

    /// Has a keeper ready for a VM that will be started in a moment. To be called in a runtime; does not wait.
    pub fn expect(&self) -> Expected {
        self.keepers.expect()
    }

    /// Looks for the program and asks for its version, unless that is known of this very file.
    ///
    /// # Errors
    /// [`VmmError::Binary`] with what is wrong with it and what to do.
    pub async fn check(&self) -> Result<(PathBuf, Version), VmmError> {
        let program = binary::find(&self.options.program)?;
        let version = self.checked.or(&program, binary::check(&program)).await?;
        Ok((program, version))
    }

    /// What runs guests on this host when the specification says [`Accelerator::Auto`]: found out once by [`accelerator::probe`], and
    /// corrected when QEMU cannot start with KVM all the same.
    pub async fn accelerator(&self) -> Accel {
        let (known, keeper) = (Arc::clone(&self.accelerator), self.options.keeper.clone());
        // It takes seconds where KVM is emulated. Whoever does not wait for that leaves what is found to the next who asks.
        let found = tokio::spawn(async move {
            let mut known = known.lock().await;
            match &*known {
                Some(known) => known.clone(),
                None => known.insert(accelerator::probe(&keeper).await).clone(),
            }
        });
        found.await.unwrap_or_else(|why| Accel::Tcg { why: format!("the trial of KVM did not end: {why}") })
    }

    /// What to start a VM with, and with which supplementary groups.
    async fn acceleration(&self, spec: &VmSpec) -> Result<(Acceleration, Vec<u32>), VmmError> {
        let tcg = Acceleration::Tcg { buffer_mib: self.options.translation_buffer_mib };
        let groups = || accelerator::groups(spec.user).map_err(VmmError::NoKvm);
        match spec.accelerator {
            Accelerator::Tcg => Ok((tcg, Vec::new())),
            Accelerator::Kvm => match self.accelerator().await {
                Accel::Kvm => Ok((Acceleration::Kvm, groups()?)),
                Accel::Tcg { why } => Err(VmmError::NoKvm(why)),
            },
            Accelerator::Auto => match (self.accelerator().await, groups()) {
                (Accel::Kvm, Ok(groups)) => Ok((Acceleration::Kvm, groups)),
                _ => Ok((tcg, Vec::new())),
            },
        }
    }

    async fn start_with(&self, spec: &VmSpec, with: Acceleration, groups: Vec<u32>) -> Result<Vm, VmmError> {
        let line = CommandLine::of(spec, with, &Memory::Own);
        self.start_line(spec, line, groups, |control| ready(control, spec)).await
    }

    /// Starts QEMU with a command line, and lets it live when it is ready.
    async fn start_line<F>(
        &self,
        spec: &VmSpec,
        line: CommandLine,
        groups: Vec<u32>,
        ready: impl FnOnce(Arc<super::Control>) -> F,
    ) -> Result<Vm, VmmError>
    where
        F: Future<Output = Result<(), VmmError>>,
    {
        let (program, _) = self.check().await?;
        let launch = Self::launch(spec, program, line, groups);
        vm::start(&self.keepers, self.options.start_timeout, spec, launch, ready).await
    }

    fn launch(spec: &VmSpec, program: PathBuf, line: CommandLine, groups: Vec<u32>) -> Launch {
        Launch {
            generation: GENERATION,
            seat: spec.seat.clone(),
            monitor: MonitorKind::Qemu,
            folder: spec.folder.path().to_owned(),
            program,
            arguments: line.arguments,
            descriptors: line.descriptors,
            taps: Vec::new(),
            has_folder: false,
            jail: None,
            network_namespace: spec.network_namespace.clone(),
            user: spec.user,
            groups,
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

    fn memory_overhead_mib(&self, guest_mib: u32) -> u32 {
        self.options.translation_buffer_mib + OWN_MIB + page_tables_mib(guest_mib)
    }

    async fn start(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        let seat = &spec.seat;
        spec.check().map_err(|why| VmmError::Spec { seat: seat.clone(), why })?;
        let (with, groups) = self.acceleration(spec).await?;
        let started = self.start_with(spec, with, groups).await;
        match started {
            Err(VmmError::Ended { exit, .. })
                if with == Acceleration::Kvm && spec.accelerator == Accelerator::Auto =>
            {
                // The same without KVM tells whether that was the reason.
                let tcg = Acceleration::Tcg { buffer_mib: self.options.translation_buffer_mib };
                let vm = self.start_with(spec, tcg, Vec::new()).await?;
                tracing::warn!(seat, %exit, "QEMU does not start with KVM; VMs run without it from now on");
                let why = format!("QEMU does not start with KVM: {exit}");
                *self.accelerator.lock().await = Some(Accel::Tcg { why });
                Ok(vm)
            }
            other => other,
        }
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Vm>, VmmError> {
        adopt(seat, folder).await
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
