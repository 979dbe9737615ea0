//! What every virtual machine monitor can do.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{RunFolder, Savable, Snapshot, Traits, Vm, VmSpec, VmmError};

/// The page tables of a guest's memory, in MiB, once all of it is in use: the monitor's own and those that the processor translates the guest's addresses by, 8 bytes for each
/// 4 KiB in either. The kernel counts both as the monitor's memory (`__GFP_ACCOUNT`).
pub(super) fn page_tables_mib(guest_mib: u32) -> u32 {
    2 * guest_mib.div_ceil(512)
}

/// A way to run VMs.
#[async_trait]
pub trait Monitor: Send + Sync {
    /// Which.
    fn kind(&self) -> MonitorKind;

    /// How many MiB a VM's monitor needs at most beyond a guest's memory of so many MiB: what the limit of the cgroup has to leave room for.
    fn memory_overhead_mib(&self, guest_mib: u32) -> u32;

    /// Starts a VM and returns when its processors run. What the guest does is not waited for.
    ///
    /// When the future is dropped, or the process is killed, before it returns, nothing of the VM is left, but for this: a process that is killed
    /// in the last moment leaves a complete VM that [`Monitor::adopt`] finds.
    ///
    /// # Errors
    /// When there is no VM afterwards, and why; [`VmmError::Busy`] when there is one already.
    async fn start(&self, spec: &VmSpec) -> Result<Vm, VmmError>;

    /// The VM that runs in a folder, whoever started it, in whichever monitor: an operator may have chosen another one since; nothing when none does, and [`RunFolder::exit`] may tell how the last one ended. A start
    /// that is under way is waited for. What a dead VM left is not removed: [`Monitor::clear`] does.
    ///
    /// # Errors
    /// When it cannot be told whether one runs.
    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Vm>, VmmError>;

    /// Ends what runs in a folder and removes its sockets and cgroup, also what a killed keeper left. Nothing to do is success. The folder itself,
    /// with `exit.json`, stays.
    ///
    /// # Errors
    /// When something is left; it can be tried again.
    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError>;
}

/// A monitor that saves VMs, and starts others from what was saved.
#[async_trait]
pub trait Snapshots: Monitor {
    /// What a snapshot of this VM depends on. `image` is what has to be equal, in words, beside what the specification says.
    ///
    /// # Errors
    /// When there is no monitor, it can save nothing as it is used here, or a file that the specification names cannot be read.
    async fn traits(&self, spec: &VmSpec, image: &str) -> Result<Traits, VmmError>;

    /// Starts a VM that can be saved later, as [`Monitor::start`] starts others.
    ///
    /// # Errors
    /// As [`Monitor::start`] and [`Snapshots::traits`].
    async fn start_to_save(&self, spec: &VmSpec, image: &str) -> Result<Savable, VmmError>;

    /// How many files as large as the guest's memory the disk holds at most because of a VM that is being saved.
    fn files_of_memory(&self) -> u32;

    /// Stops a VM, writes it to a folder, replacing what is there, and ends it. The folder that it is in has to be there.
    ///
    /// # Errors
    /// When there is no new snapshot; the VM may have to be ended by [`Monitor::clear`] then.
    async fn save(&self, savable: Savable, folder: &Path) -> Result<(), VmmError>;

    /// Starts a VM from a snapshot, and returns when its processors run on from where the saved one was stopped. It has the disks, sockets and interfaces of
    /// its specification; that an interface has another hardware address than the saved one's, the guest has to be told.
    ///
    /// # Errors
    /// As [`Monitor::start`]; [`VmmError::Snapshot`] when the snapshot was made of something else than what is here, and nothing was started.
    async fn restore(&self, spec: &VmSpec, image: &str, from: &Snapshot) -> Result<Vm, VmmError>;
}

/// The monitors there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MonitorKind {
    /// QEMU's `microvm` machine.
    Qemu,
    /// Firecracker.
    Firecracker,
}

impl fmt::Display for MonitorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::Firecracker => "Firecracker",
        })
    }
}

impl MonitorKind {
    /// How many virtual processors a VM has at most: of QEMU's `microvm` as many as were ever tried, of Firecracker 32 (`MAX_SUPPORTED_VCPUS` in its
    /// `src/vmm/src/vmm_config/machine_config.rs`).
    #[must_use]
    pub fn most_vcpus(self) -> u8 {
        match self {
            Self::Qemu => 64,
            Self::Firecracker => 32,
        }
    }

    /// Whether the monitor limits the bandwidth of network interfaces itself. QEMU has nothing for that, and Firecracker is told of no limit. Whoever owns
    /// the TAP does it there: [`hostnet::Bandwidth`].
    #[must_use]
    pub fn shapes_network(self) -> bool {
        match self {
            Self::Qemu | Self::Firecracker => false,
        }
    }
}
