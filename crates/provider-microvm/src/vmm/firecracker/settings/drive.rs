//! Drives.

use std::path::PathBuf;

use serde::Serialize;

use super::{Check, DeviceId, RateLimiter, SettingError, bound, limiter};

/// A disk: a raw image. The guest has them in the order in which they are added, the root device first; a serial cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drive {
    /// Its name.
    pub drive_id: DeviceId,
    /// The raw image.
    pub path_on_host: PathBuf,
    /// Whether the guest may only read.
    pub is_read_only: bool,
    /// Whether `root=/dev/vda` is added to the kernel's command line; not with a first root file system (docs/initrd.md).
    pub is_root_device: bool,
    /// What becomes of the guest's wish that what it wrote be on the disk.
    pub cache_type: CacheType,
    /// How the image is read and written.
    pub io_engine: IoEngine,
    /// How fast it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

/// What becomes of a guest's wish that what it wrote be on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum CacheType {
    /// Nothing: for what does not outlive the host.
    Unsafe,
    /// It is done.
    #[default]
    Writeback,
}

/// How an image is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum IoEngine {
    /// One operation after the other.
    #[default]
    Sync,
    /// With `io_uring`; a preview (docs/api_requests/block-io-engine.md).
    Async,
}

/// A change of a drive; there is at least one. After an image was resized its own path makes the guest see that (docs/api_requests/patch-block.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrivePatch {
    /// Which drive.
    pub drive_id: DeviceId,
    /// The raw image from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_on_host: Option<PathBuf>,
    /// How fast it may be used from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Check for Drive {
    fn check(&self) -> Result<(), SettingError> {
        limiter::all([&self.rate_limiter])
    }
}

impl Check for DrivePatch {
    fn check(&self) -> Result<(), SettingError> {
        // Without either, Firecracker asks the drive for the configuration of another kind of backend.
        let changes = self.path_on_host.is_some() || self.rate_limiter.is_some();
        bound(changes, "a change of a drive changes nothing")?;
        limiter::all([&self.rate_limiter])
    }
}
