//! What serves, in words.

use std::path::Path;

use async_trait::async_trait;

use crate::vmm::{
    Accel, Accelerator, Expected, Firecracker, Qemu, Snapshots, VmmError, accelerator, firecracker,
};

/// A monitor that can be told of.
#[async_trait]
pub(crate) trait Told: Snapshots {
    /// Has a keeper ready for a VM that will be started in a moment. Does not wait.
    fn expect(&self) -> Expected;
    /// Its version, and how it runs guests where that is configured so; or why it runs none of this kernel on this host.
    async fn told(&self, accelerator: Accelerator, kernel: &Path) -> Result<String, VmmError>;
}

#[async_trait]
impl Told for Qemu {
    fn expect(&self) -> Expected {
        Self::expect(self)
    }

    async fn told(&self, accelerator: Accelerator, _kernel: &Path) -> Result<String, VmmError> {
        let (_, version) = self.check().await?;
        let how = match accelerator {
            Accelerator::Tcg => "TCG, as configured".to_owned(),
            Accelerator::Auto | Accelerator::Kvm => match self.accelerator().await {
                Accel::Kvm => "KVM".to_owned(),
                Accel::Tcg { why } if accelerator == Accelerator::Kvm => {
                    return Err(VmmError::NoKvm(why));
                }
                Accel::Tcg { why } => format!("TCG, without KVM: {why}"),
            },
        };
        Ok(format!("QEMU {version} ({how})"))
    }
}

#[async_trait]
impl Told for Firecracker {
    fn expect(&self) -> Expected {
        Self::expect(self)
    }

    async fn told(&self, _: Accelerator, kernel: &Path) -> Result<String, VmmError> {
        let (_, version) = self.check().await?;
        // How fast KVM is takes seconds to find out, and doctor does.
        accelerator::there().map_err(|why| {
            VmmError::Unfit(format!(
                "Firecracker runs guests with KVM alone: {why}; make KVM work on this host, or take QEMU"
            ))
        })?;
        let loadable = firecracker::check_kernel(version, kernel);
        let loadable = loadable.unwrap_or_else(|why| Err(format!("{}: {why}", kernel.display())));
        loadable.map_err(|why| {
            VmmError::Unfit(format!("{why}; 'orchestrator microvm setup' again unpacks it for Firecracker"))
        })?;
        let how = self.check_jailer().await?.map_or("not jailed, as configured", |_| "jailed");
        Ok(format!("Firecracker {version} ({how})"))
    }
}
