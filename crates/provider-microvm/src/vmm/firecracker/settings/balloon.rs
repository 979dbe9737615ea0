//! The balloon, by which a guest gives memory back.

use serde::{Deserialize, Serialize};

use super::{Check, SettingError};

/// A balloon (docs/ballooning.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balloon {
    /// How many MiB it takes from the guest; at most the guest's memory.
    pub amount_mib: u32,
    /// Whether it gives way before the guest's kernel kills something for want of memory.
    pub deflate_on_oom: bool,
    /// How many seconds are between two statistics; 0: there are none, and there can be none later.
    pub stats_polling_interval_s: u16,
    /// Whether the guest tells of pages that it has freed, which are given back then.
    pub free_page_reporting: bool,
}

/// What the guest tells of its memory. What its kernel does not know is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct BalloonStats {
    /// How many MiB it is to take.
    pub target_mib: u64,
    /// How many MiB it has.
    pub actual_mib: u64,
    /// Bytes that nobody uses.
    pub free_memory: Option<u64>,
    /// Bytes in all.
    pub total_memory: Option<u64>,
    /// Bytes that programs could get without swapping.
    pub available_memory: Option<u64>,
    /// Bytes of files, which could be had quickly.
    pub disk_caches: Option<u64>,
    /// Page faults that took a disk.
    pub major_faults: Option<u64>,
    /// Those that did not.
    pub minor_faults: Option<u64>,
    /// Programs that were killed for want of memory; from Linux 6.12 on.
    pub oom_kill: Option<u64>,
}

/// Another size (`BalloonUpdate`).
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::vmm::firecracker) struct Amount {
    pub(in crate::vmm::firecracker) amount_mib: u32,
}

/// Another interval (`BalloonStatsUpdate`).
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::vmm::firecracker) struct Interval {
    pub(in crate::vmm::firecracker) stats_polling_interval_s: u16,
}

impl Check for Balloon {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}

impl Check for Amount {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}

impl Check for Interval {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}
