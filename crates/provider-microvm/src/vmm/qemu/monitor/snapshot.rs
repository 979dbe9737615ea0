//! Saves VMs of QEMU, and starts others from what was saved.
//!
//! ```text
//!   start_to_save   memory in a file that the service holds        (memory-backend-file, share=on)
//!   save            stop ─► state to a file (QMP) ─► the VM ends ─► files of the snapshot
//!   restore         memory of the snapshot's file, mapped privately (share=off), -incoming defer
//!                   ─► state from the file (QMP) ─► throttles ─► cont
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Acceleration, CommandLine, Memory, Qemu, ready};
use crate::vmm::snapshot::{self, Here, blocking, this_processor};
use crate::vmm::{MonitorKind, Savable, Snapshot, Snapshots, Traits, Vm, VmSpec, VmmError};

impl Qemu {
    /// Starts a VM that can be saved later, as [`crate::vmm::Monitor::start`] starts others. Its memory can be read by root as long as it is there. `image` is
    /// what has to be equal, in words, beside what the specification says.
    ///
    /// # Errors
    /// As [`crate::vmm::Monitor::start`]. A start with KVM that fails is not tried without.
    pub async fn start_to_save(&self, spec: &VmSpec, image: &str) -> Result<Savable, VmmError> {
        spec.check().map_err(|why| VmmError::Spec { seat: spec.seat.clone(), why })?;
        let (with, groups) = self.acceleration(spec).await?;
        let traits = self.traits_with(spec, with, image).await?;
        let memory = snapshot::Memory::empty(spec.memory_mib);
        let memory = memory.map_err(VmmError::io(&spec.seat, "making a file of the guest's memory"))?;
        let line = CommandLine::of(spec, with, &Memory::In(memory.path()));
        let vm = self.start_line(spec, line, groups, |control| ready(control, spec)).await?;
        Ok(Savable { vm, traits, memory: Some(memory) })
    }

    /// Stops a VM, writes it to a folder, replacing what is there, and ends it. The folder that it is in has to be there.
    ///
    /// # Errors
    /// When there is no new snapshot; the VM may have to be ended by [`crate::vmm::Monitor::clear`] then.
    pub async fn save(&self, savable: Savable, folder: &Path) -> Result<(), VmmError> {
        let Savable { vm, traits, memory } = savable;
        let seat = vm.identity().seat.clone();
        let refused = |why| VmmError::Snapshot { seat: seat.clone(), why };
        let missing =
            || VmmError::io(&seat, "saving a VM of another monitor")(io::ErrorKind::InvalidInput.into());
        let memory = memory.ok_or_else(missing)?;
        vm.pause().await?;
        let at = folder.to_owned();
        let unfinished = blocking(folder, move || snapshot::write(&at)).await.map_err(refused)?;
        let state =
            unfinished.state().try_clone().map_err(VmmError::io(&seat, "opening the snapshot's state"))?;
        let written = vm.qmp().await?.write_state(state).await;
        written.map_err(|why| VmmError::Monitor { seat: seat.clone(), why })?;
        // Nobody writes to its memory any more.
        vm.kill().await?;
        blocking(folder, move || unfinished.finish(&memory, traits)).await.map_err(refused)
    }

    /// Starts a VM from a snapshot, and returns when its processors run on from where the saved one was stopped. It has the disks, sockets and interfaces of
    /// its specification; that an interface has another hardware address than the saved one's, the guest has to be told.
    ///
    /// # Errors
    /// As [`crate::vmm::Monitor::start`]; [`VmmError::Snapshot`] when the snapshot was made of something else than what is here, and nothing was started.
    pub async fn restore(&self, spec: &VmSpec, image: &str, from: &Snapshot) -> Result<Vm, VmmError> {
        let refused = |why| VmmError::Snapshot { seat: spec.seat.clone(), why };
        spec.check().map_err(|why| VmmError::Spec { seat: spec.seat.clone(), why })?;
        let (with, groups) = self.acceleration(spec).await?;
        from.fits(&self.traits_with(spec, with, image).await?).map_err(refused)?;
        let state = from.state();
        let state = state.map_err(VmmError::io(&spec.seat, "opening the snapshot's state"))?;
        let line = CommandLine::of(spec, with, &Memory::Of(from.memory().path()));
        let run_on = |control: Arc<super::super::Control>| async move {
            let monitor = |why| VmmError::Monitor { seat: spec.seat.clone(), why };
            let qmp = control.qmp().await.map_err(monitor)?;
            qmp.read_state(state).await.map_err(monitor)?;
            ready(control, spec).await
        };
        self.start_line(spec, line, groups, run_on).await
    }

    /// What a snapshot of this VM depends on.
    ///
    /// # Errors
    /// When there is no monitor, or a file that the specification names cannot be read.
    pub async fn traits(&self, spec: &VmSpec, image: &str) -> Result<Traits, VmmError> {
        let (with, _) = self.acceleration(spec).await?;
        self.traits_with(spec, with, image).await
    }

    async fn traits_with(&self, spec: &VmSpec, with: Acceleration, image: &str) -> Result<Traits, VmmError> {
        let (program, version) = self.check().await?;
        let processor = match with {
            Acceleration::Tcg { .. } => "QEMU's own".to_owned(),
            Acceleration::Kvm => this_processor(&spec.seat)?,
        };
        let here = Here {
            monitor: MonitorKind::Qemu,
            version: version.to_string(),
            program: &program,
            processor,
            machine: CommandLine::machine_of(spec, with),
        };
        self.digests.traits(spec, image, here).await
    }
}

/// As for every monitor.
#[async_trait]
impl Snapshots for Qemu {
    async fn traits(&self, spec: &VmSpec, image: &str) -> Result<Traits, VmmError> {
        Self::traits(self, spec, image).await
    }

    async fn start_to_save(&self, spec: &VmSpec, image: &str) -> Result<Savable, VmmError> {
        Self::start_to_save(self, spec, image).await
    }

    /// Its memory is in memory until the snapshot's file is written.
    fn files_of_memory(&self) -> u32 {
        1
    }

    async fn save(&self, savable: Savable, folder: &Path) -> Result<(), VmmError> {
        Self::save(self, savable, folder).await
    }

    async fn restore(&self, spec: &VmSpec, image: &str, from: &Snapshot) -> Result<Vm, VmmError> {
        Self::restore(self, spec, image, from).await
    }
}
