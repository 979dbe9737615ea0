//! The machine itself.

use std::path::PathBuf;

use serde::Serialize;

use super::{Check, RateLimiter, SettingError, bound, limiter};
use crate::vmm::MonitorKind;

/// Processors and memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineConfig {
    /// Virtual processors, 1 to 32; with `smt` one or an even number.
    pub vcpu_count: u8,
    /// Memory in MiB, at least 1; with huge pages an even number.
    pub mem_size_mib: u32,
    /// Whether two processors are told to be one core.
    pub smt: bool,
    /// Whether the kernel notes what the guest writes to, which small diff snapshots take.
    pub track_dirty_pages: bool,
    /// What the guest's memory is made of.
    pub huge_pages: HugePages,
}

/// What a guest's memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HugePages {
    /// Pages of 4 KiB.
    #[default]
    None,
    /// Pages of 2 MiB out of the host's pool of them (hugetlbpage.rst of the kernel).
    #[serde(rename = "2M")]
    TwoMib,
}

/// What the guest boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootSource {
    /// The kernel: an ELF `vmlinux`; from 1.17 on a bzImage as well. What cannot be loaded is found out at the start.
    pub kernel_image_path: PathBuf,
    /// The first root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd_path: Option<PathBuf>,
    /// The kernel's command line. It is not left out, because Firecracker's own switches the serial console and modules off (docs/kernel-policy.md).
    pub boot_args: String,
}

/// A source of random numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entropy {
    /// How fast the guest may draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

/// What is done at once (`InstanceActionInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action_type")]
pub(in crate::vmm::firecracker) enum Action {
    FlushMetrics,
    InstanceStart,
    SendCtrlAltDel,
}

/// How the processors shall be (`Vm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state")]
pub(in crate::vmm::firecracker) enum State {
    Paused,
    Resumed,
}

impl Check for MachineConfig {
    fn check(&self) -> Result<(), SettingError> {
        let Self { vcpu_count, mem_size_mib, smt, huge_pages, .. } = *self;
        let most = MonitorKind::Firecracker.most_vcpus();
        bound((1..=most).contains(&vcpu_count), &format!("1 to {most} virtual processors are possible"))?;
        let paired = vcpu_count == 1 || vcpu_count.is_multiple_of(2);
        bound(!smt || paired, "with smt there is one virtual processor or an even number of them")?;
        bound(mem_size_mib > 0, "a guest needs memory")?;
        let whole = huge_pages == HugePages::None || mem_size_mib.is_multiple_of(2);
        bound(whole, "with pages of 2 MiB the memory is an even number of MiB")
    }
}

impl Check for BootSource {
    fn check(&self) -> Result<(), SettingError> {
        let plain = !self.boot_args.chars().any(char::is_control);
        bound(plain, "the kernel's command line holds a control character")
    }
}

impl Check for Entropy {
    fn check(&self) -> Result<(), SettingError> {
        limiter::all([&self.rate_limiter])
    }
}

impl Check for Action {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}

impl Check for State {
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
}
