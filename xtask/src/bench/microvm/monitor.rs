//! The monitors that seats run in.

use std::path::PathBuf;

use vm_testbed::BootError;

/// What runs the guests.
#[derive(Clone, Debug)]
pub(super) enum Monitor {
    /// Without KVM.
    Qemu,
    /// Jailed.
    Firecracker(Programs),
}

/// Firecracker and its jailer.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) firecracker: PathBuf,
    pub(super) jailer: PathBuf,
}

impl Programs {
    /// Those that the variables name.
    pub(super) fn find() -> Result<Self, BootError> {
        Ok(Self { firecracker: vm_testbed::firecracker()?, jailer: vm_testbed::jailer()? })
    }
}

impl Monitor {
    /// As the service's settings call it.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker(_) => "firecracker",
        }
    }

    /// What the service is told of it.
    pub(super) fn flags(&self) -> Vec<String> {
        match self {
            Self::Qemu => vec!["--microvm-accelerator=tcg".into(), "--seats-start-timeout=240s".into()],
            Self::Firecracker(Programs { firecracker, jailer }) => vec![
                "--microvm-monitor=firecracker".into(),
                format!("--microvm-firecracker={}", firecracker.display()),
                format!("--microvm-jailer={}", jailer.display()),
                "--seats-start-timeout=600s".into(),
            ],
        }
    }
}
