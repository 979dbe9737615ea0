//! VMs of Firecracker.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::{adopt, expect, machine};
use crate::edges::{Machine, Machines};
use crate::vmm::{Firecracker, Monitor as _, RunFolder, Snapshot, VmSpec, VmmError};

/// VMs of Firecracker.
#[derive(Debug)]
pub(crate) struct FirecrackerMachines {
    firecracker: Firecracker,
}

impl FirecrackerMachines {
    pub(crate) fn new(firecracker: Firecracker) -> Self {
        Self { firecracker }
    }
}

#[async_trait]
impl Machines for FirecrackerMachines {
    fn expect(&self) {
        expect();
    }

    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError> {
        self.firecracker.start(spec).await.map(machine)
    }

    async fn snapshot_name(&self, spec: &VmSpec, _: &str) -> Result<String, VmmError> {
        Err(VmmError::NoSnapshots { seat: spec.seat.clone() })
    }

    async fn save(&self, spec: &VmSpec, _: &str, _: &Path) -> Result<(), VmmError> {
        Err(VmmError::NoSnapshots { seat: spec.seat.clone() })
    }

    async fn restore(&self, spec: &VmSpec, _: &str, _: &Snapshot) -> Result<Arc<dyn Machine>, VmmError> {
        Err(VmmError::NoSnapshots { seat: spec.seat.clone() })
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError> {
        adopt(&self.firecracker, seat, folder).await
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        self.firecracker.clear(seat, folder).await
    }

    fn overhead_mib(&self) -> u32 {
        self.firecracker.memory_overhead_mib()
    }

    async fn summary(&self) -> Result<String, VmmError> {
        let (_, version) = self.firecracker.check().await?;
        let how = self.firecracker.check_jailer().await?.map_or("not jailed, as configured", |_| "jailed");
        Ok(format!("Firecracker {version} ({how})"))
    }
}
