//! Real VMs.

mod told;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::client::{Agent, LinkError, LinkOptions};

use self::told::Told;
use super::guest::RealGuest;
use super::{Guest, Machine, Machines};
use crate::vmm::{Accelerator, Exit, Expected, RunFolder, Snapshot, Vm, VmSpec, VmmError, cgroup, saved};

/// VMs of one monitor.
#[derive(Debug)]
pub(crate) struct RealMachines<M> {
    monitor: M,
    accelerator: Accelerator,
}

impl<M: Told> RealMachines<M> {
    pub(crate) fn new(monitor: M, accelerator: Accelerator) -> Self {
        Self { monitor, accelerator }
    }
}

#[async_trait]
impl<M: Told> Machines for RealMachines<M> {
    fn expect(&self) -> Expected {
        tokio::task::spawn_blocking(|| {
            if let Err(why) = cgroup::warm() {
                tracing::debug!(%why, "moves between cgroups take their time");
            }
        });
        self.monitor.expect()
    }

    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError> {
        self.monitor.start(spec).await.map(machine)
    }

    async fn snapshot_name(&self, spec: &VmSpec, image: &str) -> Result<String, VmmError> {
        Ok(self.monitor.traits(spec, image).await?.name())
    }

    async fn save(&self, spec: &VmSpec, image: &str, folder: &Path, boot: Duration) -> Result<(), VmmError> {
        let booted = async {
            let savable = self.monitor.start_to_save(spec, image).await?;
            savable.vm().agent_listens().await?;
            Ok(savable)
        };
        let savable = within(&spec.seat, BOOT, boot, booted).await?;
        within(&spec.seat, SAVE, saved(spec.memory_mib), self.monitor.save(savable, folder)).await
    }

    async fn restore(
        &self,
        spec: &VmSpec,
        image: &str,
        from: &Snapshot,
    ) -> Result<Arc<dyn Machine>, VmmError> {
        self.monitor.restore(spec, image, from).await.map(machine)
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError> {
        Ok(self.monitor.adopt(seat, folder).await?.map(machine))
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        self.monitor.clear(seat, folder).await
    }

    fn files_of_memory(&self) -> u32 {
        self.monitor.files_of_memory()
    }

    fn overhead_mib(&self, guest_mib: u32) -> u32 {
        self.monitor.memory_overhead_mib(guest_mib)
    }

    async fn summary(&self, kernel: &Path) -> Result<String, VmmError> {
        self.monitor.told(self.accelerator, kernel).await
    }
}

/// What is waited for when a guest is saved.
const BOOT: &str = "the boot of the guest that is to be saved";
const SAVE: &str = "writing the guest down";

async fn within<T>(
    seat: &str,
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, VmmError>>,
) -> Result<T, VmmError> {
    let late = |_| VmmError::Timeout { seat: seat.to_owned(), what, limit };
    tokio::time::timeout(limit, work).await.map_err(late)?
}

fn machine(vm: Vm) -> Arc<dyn Machine> {
    Arc::new(RealMachine(vm))
}

/// A VM, whichever monitor it runs in.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_that_does_not_wait_and_one_that_is_not_written_down_are_told_apart() {
        for what in [BOOT, SAVE] {
            let late =
                within::<()>("demo/1", what, Duration::ZERO, std::future::pending()).await.unwrap_err();
            assert_eq!(late.to_string(), format!("seat demo/1: {what} did not happen within 0 s"));
        }
        within("demo/1", SAVE, saved(64), std::future::ready(Ok(()))).await.unwrap();
        assert!(saved(2048) > saved(64) && saved(64) > Duration::from_secs(60));
    }
}
