//! VMs of QEMU.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::{adopt, expect, machine};
use crate::edges::{Machine, Machines};
use crate::vmm::{Accel, Accelerator, Monitor as _, Qemu, RunFolder, Snapshot, VmSpec, VmmError};

/// VMs of QEMU.
#[derive(Debug)]
pub(crate) struct QemuMachines {
    qemu: Qemu,
    accelerator: Accelerator,
}

impl QemuMachines {
    pub(crate) fn new(qemu: Qemu, accelerator: Accelerator) -> Self {
        Self { qemu, accelerator }
    }
}

#[async_trait]
impl Machines for QemuMachines {
    fn expect(&self) {
        expect();
    }

    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError> {
        self.qemu.start(spec).await.map(machine)
    }

    async fn snapshot_name(&self, spec: &VmSpec, image: &str) -> Result<String, VmmError> {
        Ok(self.qemu.traits(spec, image).await?.name())
    }

    async fn save(&self, spec: &VmSpec, image: &str, folder: &Path) -> Result<(), VmmError> {
        let savable = self.qemu.start_to_save(spec, image).await?;
        savable.vm().agent_listens().await?;
        self.qemu.save(savable, folder).await
    }

    async fn restore(
        &self,
        spec: &VmSpec,
        image: &str,
        from: &Snapshot,
    ) -> Result<Arc<dyn Machine>, VmmError> {
        self.qemu.restore(spec, image, from).await.map(machine)
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError> {
        adopt(&self.qemu, seat, folder).await
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        self.qemu.clear(seat, folder).await
    }

    fn overhead_mib(&self) -> u32 {
        self.qemu.memory_overhead_mib()
    }

    async fn summary(&self) -> Result<String, VmmError> {
        let (_, version) = self.qemu.check().await?;
        let how = match self.accelerator {
            Accelerator::Tcg => "TCG, as configured".to_owned(),
            Accelerator::Auto | Accelerator::Kvm => match self.qemu.accelerator().await {
                Accel::Kvm => "KVM".to_owned(),
                Accel::Tcg { why } if self.accelerator == Accelerator::Kvm => {
                    return Err(VmmError::NoKvm(why));
                }
                Accel::Tcg { why } => format!("TCG, without KVM: {why}"),
            },
        };
        Ok(format!("QEMU {version} ({how})"))
    }
}
