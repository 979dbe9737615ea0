//! Snapshots (docs/snapshotting/snapshot-support.md).

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::{Check, DeviceId, SettingError, name};
use crate::vmm::InterfaceName;

/// The files that a snapshot is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotFiles {
    /// The state of processors and devices.
    pub snapshot_path: PathBuf,
    /// The guest's memory.
    pub mem_file_path: PathBuf,
    /// All of the memory, or what changed.
    pub snapshot_type: SnapshotType,
}

/// How much of the memory a snapshot has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum SnapshotType {
    /// All of it.
    #[default]
    Full,
    /// What changed since the last one, where the machine tracks that; else all of it, too.
    Diff,
}

/// How a snapshot is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotLoad {
    /// The state of processors and devices. The drives' files are those of the machine that was saved, at the same paths.
    pub snapshot_path: PathBuf,
    /// The guest's memory.
    pub mem_backend: MemoryBackend,
    /// Whether the kernel notes what the guest writes to from now on.
    pub track_dirty_pages: bool,
    /// Interfaces that have another TAP device than that of the machine that was saved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_overrides: Vec<NetworkOverride>,
    /// The unix socket of the vsock device, when it is another one; there must be nothing yet.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "vsock")]
    pub vsock_override: Option<PathBuf>,
    /// Whether the guest's clock goes on from what it is now instead of from what it was; x86-64 only.
    pub clock_realtime: bool,
}

/// Where the memory of a snapshot comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "backend_type", content = "backend_path")]
pub enum MemoryBackend {
    /// A file. It stays mapped as long as the machine is there, and must never change.
    File(PathBuf),
    /// The unix socket of a process that gives pages when they are missing (docs/snapshotting/handling-page-faults-on-snapshot-resume.md).
    Uffd(PathBuf),
}

/// Another TAP device for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkOverride {
    /// Which interface.
    pub iface_id: DeviceId,
    /// The TAP device; as of [`super::NetworkInterface`].
    #[serde(serialize_with = "name")]
    pub host_dev_name: InterfaceName,
}

/// The request (`SnapshotLoadParams`).
#[derive(Clone, Debug, Serialize)]
pub(in crate::vmm::firecracker) struct Load<'a> {
    #[serde(flatten)]
    pub(in crate::vmm::firecracker) how: &'a SnapshotLoad,
    pub(in crate::vmm::firecracker) resume_vm: bool,
}

/// `VsockOverride`.
#[derive(Serialize)]
struct VsockOverride<'a> {
    uds_path: &'a PathBuf,
}

fn vsock<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|uds_path| VsockOverride { uds_path }).serialize(to)
}

impl Check for SnapshotFiles {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}

impl Check for Load<'_> {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}
