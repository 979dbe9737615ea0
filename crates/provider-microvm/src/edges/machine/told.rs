//! What serves, in words.

use async_trait::async_trait;

use crate::vmm::{Accel, Accelerator, Expected, Firecracker, Qemu, Snapshots, VmmError};

/// A monitor that can be told of.
#[async_trait]
pub(crate) trait Told: Snapshots {
    /// Has a keeper ready for a VM that will be started in a moment. Does not wait.
    fn expect(&self) -> Expected;
    /// Its version, and how it runs guests where that is configured so.
    async fn told(&self, accelerator: Accelerator) -> Result<String, VmmError>;
}

#[async_trait]
impl Told for Qemu {
    fn expect(&self) -> Expected {
        Self::expect(self)
    }

    async fn told(&self, accelerator: Accelerator) -> Result<String, VmmError> {
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

    async fn told(&self, _: Accelerator) -> Result<String, VmmError> {
        let (_, version) = self.check().await?;
        let how = self.check_jailer().await?.map_or("not jailed, as configured", |_| "jailed");
        Ok(format!("Firecracker {version} ({how})"))
    }
}
