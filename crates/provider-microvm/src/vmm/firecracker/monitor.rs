//! Starts, adopts and ends VMs that Firecracker runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::{BootWords, VSOCK_PORT};

use super::control::{drive_id, setting};
use super::{
    Api, Balloon, BootSource, CacheType, DeviceId, Drive, Entropy, HugePages, IoEngine, Limits, Machine,
    MachineConfig, Metrics, NetworkInterface, Unconfigured, Version, Vsock, binary, metrics,
};
use crate::vmm::keeper::{Expected, Keepers};
use crate::vmm::monitor::page_tables_mib;
use crate::vmm::program::Known;
use crate::vmm::snapshot::Digests;
use crate::vmm::vm::{adopt, clear};
use crate::vmm::{
    BinaryTrouble, KeeperCommand, Monitor, MonitorKind, RunFolder, Vm, VmSpec, VmmError, folder, limits,
    program,
};

mod inside;
mod prepare;
mod snapshot;

use prepare::More;

/// What Firecracker takes beside the guest's memory: 5 MiB by its own measure (SPECIFICATION.md), its program, and the buffers of its devices.
const OWN_MIB: u32 = 32;
/// The guest's number. Guests do not see each other's.
const GUEST_CID: u32 = 3;

/// How a guest gives memory back that it does not use: it tells of it by itself, and nothing is taken from it.
const BALLOON: Balloon = Balloon {
    amount_mib: 0,
    deflate_on_oom: true,
    // Twice as often as they are asked for, once a minute.
    stats_polling_interval_s: 30,
    free_page_reporting: true,
};

/// How Firecracker is used.
#[derive(Clone, Debug)]
pub struct FirecrackerOptions {
    /// The program: a path, or a name that is looked for in the `PATH`.
    pub program: PathBuf,
    /// Whether it is jailed.
    pub jailer: Jailer,
    /// What keeps VMs.
    pub keeper: KeeperCommand,
    /// How long the keeper's answer, and then the way to running processors, may take, each.
    pub start_timeout: Duration,
    /// How long Firecracker may take for each call while a VM is started or saved.
    pub limits: Limits,
}

/// Whether Firecracker is jailed. A jail is in the folder of its VM ([`VmSpec::folder`]), which takes that this folder, the kernel, the first root and the
/// drives are on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jailer {
    /// By its jailer: each VM sees of the host what it is made of, as a user of its own, in a process namespace of its own.
    Program(PathBuf),
    /// Not: a guest that takes over its monitor sees what the VM's user may see. For hosts and tests without root.
    Off,
}

impl FirecrackerOptions {
    /// `firecracker`, jailed by `jailer`, and a minute to start.
    #[must_use]
    pub fn new(keeper: KeeperCommand) -> Self {
        Self {
            program: "firecracker".into(),
            jailer: Jailer::Program("jailer".into()),
            keeper,
            start_timeout: limits::START,
            limits: Limits::default(),
        }
    }
}

/// Firecracker as a monitor.
///
/// It opens kernel, first root file system, drives and TAP device itself, as the user of the specification. The TAP device must be his. Without a jail the
/// rest must be open to him too; in one it is given to him: drives that are not only read become his, and all others readable to everybody who gets to their
/// folder. Drives have no serials that could be chosen: the guest has them in the order of the specification.
#[derive(Debug)]
pub struct Firecracker {
    options: FirecrackerOptions,
    keepers: Keepers,
    checked: Known<Version>,
    /// Of the jailer.
    jailer: Known<Version>,
    /// Of files that snapshots depend on, as they were.
    digests: Digests,
}

impl Firecracker {
    /// A monitor; nothing is looked at yet.
    #[must_use]
    pub fn new(options: FirecrackerOptions) -> Self {
        let keepers = Keepers::new(options.keeper.clone(), options.jailer != Jailer::Off);
        let (checked, jailer, digests) = (Known::default(), Known::default(), Digests::default());
        Self { options, keepers, checked, jailer, digests }
    }

    /// Has a keeper ready for a VM that will be started in a moment. To be called in a runtime; does not wait.
    pub fn expect(&self) -> Expected {
        self.keepers.expect()
    }

    /// Looks for the program and asks for its version, unless that is known of this very file.
    ///
    /// # Errors
    /// [`VmmError::Binary`] with what is wrong with it and what to do.
    pub async fn check(&self) -> Result<(PathBuf, Version), VmmError> {
        let named = &self.options.program;
        let missing = || VmmError::Binary { program: named.clone(), trouble: BinaryTrouble::NoFirecracker };
        let program = program::find(named).ok_or_else(missing)?;
        let version = self.checked.or(&program, binary::check(&program)).await?;
        Ok((program, version))
    }
}

#[async_trait]
impl Monitor for Firecracker {
    fn kind(&self) -> MonitorKind {
        MonitorKind::Firecracker
    }

    fn memory_overhead_mib(&self, guest_mib: u32) -> u32 {
        OWN_MIB + page_tables_mib(guest_mib)
    }

    async fn start(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        self.run(spec, More::default(), |api, seen| async move { boot(api, &seen).await }).await
    }

    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Vm>, VmmError> {
        adopt(seat, folder).await
    }

    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
        clear(seat, folder).await
    }
}

/// A process that was just started, once it is told where its metrics go.
async fn counting(api: &Arc<Api>, spec: &VmSpec) -> Result<Machine<Unconfigured>, VmmError> {
    let fresh = Machine::fresh(api.as_ref().clone()).await?;
    let made = metrics::create(api, spec.user);
    made.map_err(VmmError::io(&spec.seat, "making the pipe of its metrics"))?;
    fresh.set_metrics(&Metrics { metrics_path: folder::METRICS.into() }).await?;
    Ok(fresh)
}

/// From a process to running processors.
async fn boot(api: Arc<Api>, spec: &VmSpec) -> Result<(), VmmError> {
    let fresh = counting(&api, spec).await?;
    let machine = MachineConfig {
        vcpu_count: spec.vcpus,
        mem_size_mib: spec.memory_mib,
        smt: false,
        track_dirty_pages: false,
        huge_pages: HugePages::None,
    };
    let boot = BootSource {
        kernel_image_path: absolute(spec, &spec.kernel)?,
        initrd_path: Some(absolute(spec, &spec.initramfs)?),
        boot_args: command_line(&spec.drives, &spec.command_line),
    };
    let configured = fresh.configure(&machine, &boot).await?;
    for drive in &spec.drives {
        let drive = Drive {
            drive_id: drive_id(&spec.seat, &drive.serial)?,
            path_on_host: absolute(spec, &drive.path)?,
            is_read_only: drive.read_only,
            is_root_device: false,
            cache_type: CacheType::Writeback,
            io_engine: IoEngine::Sync,
            rate_limiter: drive.throttle.map(Into::into),
        };
        configured.add_drive(&drive).await?;
    }
    for (number, nic) in spec.nics.iter().enumerate() {
        let iface_id = DeviceId::new(&format!("eth{number}")).map_err(|why| setting(&spec.seat, why))?;
        let nic = NetworkInterface {
            iface_id,
            host_dev_name: nic.tap.clone(),
            guest_mac: nic.mac,
            mtu: None,
            rx_rate_limiter: None,
            tx_rate_limiter: None,
        };
        // The keeper has looked, but somebody may have removed it since, and as root Firecracker would make another one.
        let there = api.has_interface(nic.host_dev_name.as_str());
        if !there.map_err(VmmError::io(&spec.seat, "looking at its interfaces"))? {
            let why = format!("TAP device {}: there is none", nic.host_dev_name.as_str());
            return Err(VmmError::Launch { seat: spec.seat.clone(), why });
        }
        configured.add_network_interface(&nic).await?;
    }
    configured.set_vsock(&Vsock { guest_cid: GUEST_CID, uds_path: folder::AGENT.into() }).await?;
    configured.set_entropy(&Entropy::default()).await?;
    configured.set_balloon(&BALLOON).await?;
    let running = configured.start().await?;
    tracing::debug!(seat = spec.seat, version = %running.version(), port = VSOCK_PORT, "Firecracker runs");
    Ok(())
}

/// A path that does not depend on the folder that the process is in.
fn absolute(spec: &VmSpec, path: &Path) -> Result<PathBuf, VmmError> {
    std::path::absolute(path).map_err(VmmError::io(&spec.seat, format!("finding {}", path.display())))
}

/// A seat as Firecracker names its machines: letters, digits and `-`, 64 at most.
fn id(seat: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '-' };
    let id: String = seat.chars().map(plain).take(64).collect();
    if id.is_empty() { "seat".into() } else { id }
}

/// What a guest needs to be told on this machine: the serial line, to end by the keyboard's controller, that it has nothing but a keyboard, and what its
/// agent cannot see.
fn command_line(drives: &[crate::vmm::Drive], more: &str) -> String {
    let line = "console=ttyS0 reboot=k panic=-1 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce";
    let serials: Vec<_> = drives.iter().map(|drive| drive.serial.as_str().to_owned()).collect();
    let words = BootWords { disks: (!serials.is_empty()).then_some(serials), vsock_port: Some(VSOCK_PORT) };
    format!("{line} {words} {}", more.trim()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::Serial;

    #[test]
    fn seats_have_names_that_firecracker_takes() {
        assert_eq!(id("demo/12"), "demo-12");
        assert_eq!(id(""), "seat");
        assert_eq!(id(&"ä/".repeat(100)), "-".repeat(64));
    }

    #[test]
    fn the_command_line_ends_with_what_the_caller_wants() {
        assert!(command_line(&[], " quiet ").ends_with(" swiotlb=noforce clarateach.link=vsock:1024 quiet"));
        assert!(command_line(&[], "").ends_with(" clarateach.link=vsock:1024"));
    }

    #[test]
    fn the_command_line_says_which_drive_is_which() {
        let drive = |serial: &str| crate::vmm::Drive {
            path: "/x".into(),
            serial: Serial::new(serial).unwrap(),
            read_only: false,
            throttle: None,
        };
        let line = command_line(&[drive("root"), drive("scratch"), drive("a-b_c")], "quiet");
        assert!(
            line.ends_with(" clarateach.disks=root,scratch,a-b_c clarateach.link=vsock:1024 quiet"),
            "{line}"
        );
        let words = BootWords::parse(&line).unwrap();
        assert_eq!(words.disks.unwrap(), ["root", "scratch", "a-b_c"]);
    }
}
