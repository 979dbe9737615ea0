//! Real VMs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use guest_protocol::client::{Agent, LinkError, LinkOptions};

use super::guest::RealGuest;
use super::{Guest, Machine, Machines};
use crate::vmm::{Accel, Accelerator, Exit, Monitor as _, Qemu, RunFolder, Snapshot, Vm, VmSpec, VmmError};

/// VMs of QEMU.
#[derive(Debug)]
pub(crate) struct RealMachines {
    qemu: Qemu,
    accelerator: Accelerator,
}

impl RealMachines {
    pub(crate) fn new(qemu: Qemu, accelerator: Accelerator) -> Self {
        Self { qemu, accelerator }
    }
}

#[async_trait]
impl Machines for RealMachines {
    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError> {
        Ok(Arc::new(RealMachine(self.qemu.start(spec).await?)))
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
        Ok(Arc::new(RealMachine(self.qemu.restore(spec, image, from).await?)))
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError> {
        let vm = self.qemu.adopt(seat, folder).await?;
        Ok(vm.map(|vm| Arc::new(RealMachine(vm)) as Arc<dyn Machine>))
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

/// A VM of QEMU.
#[derive(Debug)]
struct RealMachine(Vm);

#[async_trait]
impl Machine for RealMachine {
    fn key(&self) -> String {
        let identity = self.0.identity();
        format!("{}/{}/{}", identity.boot_id, identity.vmm.pid, identity.vmm.start_time)
    }

    fn is_alive(&self) -> bool {
        // What the kernel does not tell is found out by whoever waits for its end.
        self.0.is_alive().unwrap_or(true)
    }

    async fn exited(&self) -> Result<Exit, VmmError> {
        self.0.exited().await
    }

    async fn unstick(&self) -> Result<bool, VmmError> {
        self.0.unstick().await
    }

    async fn guest(&self, options: LinkOptions) -> Result<Arc<dyn Guest>, LinkError> {
        // A host that went away in the middle may have left the stream where nothing comes through.
        let open = || async { self.0.connect_agent().await.map_err(io::Error::other) };
        Ok(Arc::new(RealGuest(Agent::reach(open, options).await?)))
    }
}
