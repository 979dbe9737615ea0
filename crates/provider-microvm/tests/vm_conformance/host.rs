//! The host of a test: a state folder, a prepared kernel, and images.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use provider_microvm::vmm::{Accelerator, Jailer, KeeperCommand, MonitorKind};
use provider_microvm::{ImageConfig, MicrovmConfig, MicrovmProvider};
use seats::{SeatRef, WorkshopId};

/// How long an emulated guest may take to boot on a busy machine: on one emulated processor, beside eight others.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(900);

pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: MicrovmConfig,
}

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mv").tempdir()?;
        // The users of monitors must reach the kernel in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let archives = folder.path().join("archives");
        fs::create_dir(&archives)?;
        vm_testbed::archives(&archives)?;
        let boot = folder.path().join("boot");
        let firecracker = std::env::var(vm_testbed::UNDER_FIRECRACKER).ok();
        guest_boot::setup(&guest_boot::SetupOptions {
            from: Some(vm_testbed::Kernel::find()?.source().to_owned()),
            agent: vm_testbed::agent()?,
            folder: boot.clone(),
            unpack: firecracker.is_some(),
        })?;
        let keeper = KeeperCommand { program: env!("CARGO_BIN_EXE_vmm-keeper").into(), args: Vec::new() };
        let mut config = MicrovmConfig {
            images: ImageConfig { archives: vec![archives], ..ImageConfig::default() },
            boot: Some(boot),
            scratch_mib: 256,
            data_mib: 256,
            least_free_mib: 64,
            memory_percent: 1000,
            cgroup: Some(format!("clarateach-test-{}", std::process::id())),
            accelerator: Accelerator::Tcg,
            start_timeout: START_TIMEOUT,
            restore_timeout: START_TIMEOUT,
            stop_grace: Duration::from_secs(10),
            ..MicrovmConfig::new(folder.path().join("state"), keeper)
        };
        if let Some(how) = firecracker {
            config.monitor = MonitorKind::Firecracker;
            config.firecracker = vm_testbed::firecracker()?;
            config.accelerator = Accelerator::Kvm;
            match how.as_str() {
                "jailed" => {
                    config.jailer = Jailer::Program(vm_testbed::jailer()?);
                    // A jail is for a user who is nobody else's, and checks run side by side, each in a process of its own.
                    config.first_uid = Some(0x4000_0000 + std::process::id() % (1 << 20) * 256);
                }
                // It opens everything itself, as whoever it is.
                "plain" => (config.jailer, config.first_uid) = (Jailer::Off, None),
                _ => bail!("{} is {how:?}, and not jailed or plain", vm_testbed::UNDER_FIRECRACKER),
            }
        }
        Ok(Self { folder, config })
    }

    pub(crate) fn provider(&self) -> Arc<MicrovmProvider> {
        MicrovmProvider::new(self.config.clone(), None).unwrap()
    }

    pub(crate) fn workshop_folder(&self, workshop: &WorkshopId) -> PathBuf {
        self.folder.path().join("state/microvm/workshops").join(workshop.as_str())
    }

    pub(crate) fn seat_folder(&self, seat: &SeatRef) -> PathBuf {
        self.workshop_folder(&seat.workshop).join(seat.seat.to_string())
    }
}
