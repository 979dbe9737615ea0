//! What runs the VMs.

use std::path::PathBuf;

use seats::Finding;

use crate::MicrovmConfig;
use crate::config::UNJAILED;
use crate::vmm::{
    Accel, Accelerator, Firecracker, Monitor as _, MonitorKind, Qemu, VmmError, accelerator, firecracker,
};

/// Looks at the monitor that new seats would run in, and at what it needs.
pub(super) async fn look(config: &MicrovmConfig) -> Vec<Finding> {
    let accelerator = async {
        let wanted = config.accelerator;
        match wanted {
            // Nobody asks for it then.
            Accelerator::Tcg => accelerated(&Accel::Kvm, wanted, config.monitor),
            _ => accelerated(&accelerator::probe(&config.keeper).await, wanted, config.monitor),
        }
    };
    match config.monitor {
        MonitorKind::Qemu => vec![qemu(config).await, accelerator.await],
        MonitorKind::Firecracker => {
            let firecracker = Firecracker::new(config.firecracker());
            let checked = firecracker.check().await;
            let version = checked.as_ref().ok().map(|(_, version)| *version);
            let mut findings = vec![found(checked)];
            if let Some(version) = version {
                findings.extend(loadable(config, version));
                findings.push(jailer(&firecracker).await);
            }
            findings.push(accelerator.await);
            findings
        }
    }
}

/// What the monitor needs beside a guest's memory of so many MiB, in MiB.
pub(super) fn overhead_mib(config: &MicrovmConfig, guest_mib: u32) -> u32 {
    match config.monitor {
        MonitorKind::Qemu => Qemu::new(config.qemu()).memory_overhead_mib(guest_mib),
        MonitorKind::Firecracker => Firecracker::new(config.firecracker()).memory_overhead_mib(guest_mib),
    }
}

async fn qemu(config: &MicrovmConfig) -> Finding {
    const NAME: &str = "monitor";
    match Qemu::new(config.qemu()).check().await {
        Ok((path, version)) => Finding::ok(NAME, format!("QEMU {version} ({})", path.display())),
        Err(why) => Finding::error(
            NAME,
            why.to_string(),
            "install qemu-system-x86 (Debian, Ubuntu), or name QEMU by microvm.qemu",
        ),
    }
}

fn found(checked: Result<(PathBuf, firecracker::Version), VmmError>) -> Finding {
    const NAME: &str = "monitor";
    match checked {
        Ok((path, version)) => Finding::ok(NAME, format!("Firecracker {version} ({})", path.display())),
        Err(why) => Finding::error(
            NAME,
            why.to_string(),
            "install a release of Firecracker, or name it by microvm.firecracker; docs/firecracker.md has the steps",
        ),
    }
}

/// What is wrong with the prepared kernel for this Firecracker. That there is none is told elsewhere.
fn loadable(config: &MicrovmConfig, version: firecracker::Version) -> Option<Finding> {
    const NAME: &str = "kernel for the monitor";
    const REMEDY: &str =
        "'orchestrator microvm setup' again, with microvm.monitor = \"firecracker\": it unpacks the kernel";
    let kernel = guest_boot::Boot::open(&config.boot_folder()).ok()?.kernel();
    match firecracker::check_kernel(version, &kernel) {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(Finding::error(NAME, why, REMEDY)),
        Err(why) => Some(Finding::error(NAME, format!("{}: {why}", kernel.display()), REMEDY)),
    }
}

/// Whether monitors are jailed.
async fn jailer(firecracker: &Firecracker) -> Finding {
    const NAME: &str = "jailer";
    match firecracker.check_jailer().await {
        Ok(Some(path)) => Finding::ok(NAME, format!("of the same release ({})", path.display())),
        Ok(None) => Finding::warning(NAME, UNJAILED, "name Firecracker's jailer by microvm.jailer"),
        Err(why @ VmmError::Powerless { .. }) => Finding::error(
            NAME,
            why.to_string(),
            "run as root, or with deploy/systemd's drop-in for jailed seats",
        ),
        Err(why) => Finding::error(
            NAME,
            why.to_string(),
            "install the jailer of the same release as Firecracker, or name it by microvm.jailer",
        ),
    }
}

fn accelerated(found: &Accel, wanted: Accelerator, monitor: MonitorKind) -> Finding {
    const NAME: &str = "accelerator";
    const REMEDY: &str = "turn virtualization on in the firmware, or nested virtualization in the host that runs this machine; a small class works \
                          without it, in QEMU";
    match (found, wanted, monitor) {
        (_, Accelerator::Tcg, _) => Finding::ok(NAME, "QEMU's translator (tcg), as microvm.accelerator says"),
        (Accel::Kvm, ..) => Finding::ok(NAME, "KVM: a trial guest ran with it"),
        (Accel::Tcg { why }, Accelerator::Auto, MonitorKind::Qemu) => {
            let detail = format!("QEMU's translator (tcg), which is many times slower than KVM: {why}");
            Finding::warning(NAME, detail, REMEDY)
        }
        (Accel::Tcg { why }, Accelerator::Auto, MonitorKind::Firecracker) => Finding::error(
            NAME,
            format!(
                "Firecracker runs guests with KVM alone, and with this one they come up slowly or not at all: {why}"
            ),
            REMEDY,
        ),
        (Accel::Tcg { why }, Accelerator::Kvm, _) => {
            Finding::error(NAME, format!("no seat starts, because microvm.accelerator is kvm: {why}"), REMEDY)
        }
    }
}

#[cfg(test)]
mod tests {
    use seats::Level;

    use super::*;
    use crate::vmm::{Jailer, KeeperCommand};

    #[tokio::test]
    async fn monitors_without_a_jail_are_warned_of() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firecracker");
        std::fs::write(&program, "#!/bin/sh\necho Firecracker v1.16.1\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let keeper = KeeperCommand { program: "/bin/false".into(), args: Vec::new() };
        let config = MicrovmConfig {
            monitor: MonitorKind::Firecracker,
            firecracker: program,
            jailer: Jailer::Off,
            ..MicrovmConfig::new(folder.path(), keeper)
        };
        let look = async |config: &MicrovmConfig| {
            let findings = look(config).await;
            findings.into_iter().find(|finding| finding.name == "jailer").unwrap()
        };
        let found = look(&config).await;
        assert_eq!((found.level, &*found.detail), (Level::Warning, UNJAILED));
        assert!(found.remedy.unwrap().contains("microvm.jailer"));
        let jailed = MicrovmConfig { jailer: Jailer::Program("/nowhere/jailer".into()), ..config };
        assert_eq!(look(&jailed).await.level, Level::Error);
    }

    #[test]
    fn without_kvm_it_depends_on_what_is_wanted() {
        let none = Accel::Tcg { why: "no /dev/kvm".into() };
        let level = |found: &Accel, wanted, monitor| accelerated(found, wanted, monitor).level;
        assert_eq!(level(&none, Accelerator::Auto, MonitorKind::Qemu), Level::Warning);
        assert_eq!(level(&none, Accelerator::Auto, MonitorKind::Firecracker), Level::Error);
        assert_eq!(level(&none, Accelerator::Kvm, MonitorKind::Qemu), Level::Error);
        assert_eq!(level(&none, Accelerator::Tcg, MonitorKind::Qemu), Level::Ok);
        assert_eq!(level(&Accel::Kvm, Accelerator::Auto, MonitorKind::Firecracker), Level::Ok);
    }
}
