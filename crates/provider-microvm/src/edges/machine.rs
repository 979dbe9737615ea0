//! Real VMs.

mod firecracker;
mod qemu;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use guest_protocol::client::{Agent, LinkError, LinkOptions};

pub(crate) use self::firecracker::FirecrackerMachines;
pub(crate) use self::qemu::QemuMachines;
use super::guest::RealGuest;
use super::{Guest, Machine};
use crate::vmm::{Exit, Monitor, RunFolder, Vm, VmmError, cgroup};

/// The VM that runs in a folder, whichever monitor was chosen when it was started.
async fn adopt(
    monitor: &impl Monitor,
    seat: &str,
    folder: &RunFolder,
) -> Result<Option<Arc<dyn Machine>>, VmmError> {
    Ok(monitor.adopt(seat, folder).await?.map(machine))
}

/// Hides what the kernel takes before the first process moves between cgroups behind what comes before the start.
fn expect() {
    tokio::task::spawn_blocking(|| {
        if let Err(why) = cgroup::warm() {
            tracing::debug!(%why, "moves between cgroups take their time");
        }
    });
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
