//! What the operator can choose about microVM seats.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use seats::SeatBound;

use crate::nameservers::NameServers;
use crate::vmm::{
    Accelerator, FirecrackerOptions, Jailer, KeeperCommand, MonitorKind, QemuOptions, Throttle,
};

/// What an operator is warned of who asked for no jail.
pub(crate) const UNJAILED: &str = "seats' monitors run without a jail and as this service's user, as microvm.jailer says: who breaks out of a guest is \
                                   root on this host";

/// The settings of a [`crate::MicrovmProvider`].
#[derive(Clone, Debug)]
pub struct MicrovmConfig {
    /// The service's folder; seats are kept in `microvm` and images in `images` below it.
    pub state_dir: PathBuf,
    /// Where images come from.
    pub images: ImageConfig,
    /// The kernel and first root that `microvm setup` prepared; `None` is `microvm/boot` in the state folder.
    pub boot: Option<PathBuf>,
    /// The addresses from which workshops get their subnets.
    pub pool: Ipv4Net,
    /// How large a workshop's subnet is; `None` takes the smallest that holds [`MicrovmConfig::seat_bound`] seats.
    pub subnet_prefix: Option<u8>,
    /// The highest seat number, which a subnet must have room for.
    pub seat_bound: SeatBound,
    /// The operator's network that seats are on, in place of bridges of this service's; then the pool, the subnets and the egress rules
    /// have no meaning.
    pub cni: Option<CniConfig>,
    /// What seats may reach outside their workshop.
    pub egress: hostnet::EgressPolicy,
    /// The name servers of the seats, which they may ask whatever [`MicrovmConfig::egress`] says; none takes those of the host that are not on its loopback.
    pub nameservers: Vec<IpAddr>,
    /// What a seat can write outside its workspace, in MiB.
    pub scratch_mib: u32,
    /// A seat's workspace, in MiB.
    pub data_mib: u32,
    /// How fast each of a seat's disks may be used; `None` is without a limit.
    pub disk_throttle: Option<Throttle>,
    /// How much a seat may receive and send.
    pub bandwidth: hostnet::Bandwidth,
    /// The least memory of a seat in MiB. With less its guest does not boot: Debian's cloud kernel (6.1) unpacks itself from 80 MiB on.
    pub least_memory_mib: u32,
    /// What a monitor needs beside its guest's memory, in MiB; `None` is what was measured of it.
    pub overhead_mib: Option<u32>,
    /// How much of the host's memory may be promised to seats, in hundredths. Guests rarely use all they were promised.
    pub memory_percent: u32,
    /// How much of the disk must be free before a seat is made, in MiB.
    pub least_free_mib: u32,
    /// The first of the user numbers that monitors run as, each seat with one of its own; `None` runs all of them as the
    /// service's user, which is for tests.
    pub first_uid: Option<u32>,
    /// The cgroup that holds those of all seats; `None` makes none, which is for tests.
    pub cgroup: Option<String>,
    /// What new VMs run in. Those that run keep theirs.
    pub monitor: MonitorKind,
    /// QEMU: a path, or a name that is looked for in the `PATH`.
    pub qemu: PathBuf,
    /// Firecracker, in the same way.
    pub firecracker: PathBuf,
    /// Whether it is jailed; that it is not, an operator must have asked for. Then it runs as the service's own user.
    pub jailer: Jailer,
    /// What runs the guests' instructions.
    pub accelerator: Accelerator,
    /// Whether seats go on from a snapshot instead of booting.
    pub snapshot: SnapshotUse,
    /// What keeps VMs: this program under its hidden subcommand.
    pub keeper: KeeperCommand,
    /// Sets `AUTH_DISABLED` of the workspaces.
    pub auth_disabled: bool,
    /// Sets `JWKS_URL` of the workspaces.
    pub jwks_url: Option<String>,
    /// The capabilities that a seat's processes keep (capabilities(7), without `CAP_`).
    pub capabilities: Vec<String>,
    /// The size in MiB at which a seat's console log is rotated.
    pub console_max_mib: u32,
    /// How many parts of a seat's console log are kept.
    pub console_files: u32,
    /// How long a workspace whose data is kept may take to stop, before it is killed.
    pub stop_grace: Duration,
    /// How long a guest may take to boot, and then how long a seat that does not answer is `starting` before it is
    /// `error`.
    pub start_timeout: Duration,
    /// How long a guest that goes on from a snapshot may take to answer, before it is booted; never more than half of what one has that boots. It takes
    /// a fifth of what a boot takes (docs/performance.md).
    pub restore_timeout: Duration,
    /// How often the clock of a guest is compared with the host's.
    pub clock_every: Duration,
}

/// Whether seats go on from a snapshot instead of booting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotUse {
    /// Wherever that can be; else they boot, and why is told.
    Auto,
    /// They boot.
    Off,
}

/// A network that the operator has configured for the Container Network Interface.
#[derive(Clone, Debug)]
pub struct CniConfig {
    /// The `name` in its list.
    pub network: hostnet::cni::NetworkName,
    /// Where lists (`.conflist`) are.
    pub config_dir: PathBuf,
    /// Where plugins are; the first folder that has one counts.
    pub bin_dirs: Vec<PathBuf>,
    /// How long one plugin may run.
    pub timeout: Duration,
    /// Where the seats' network namespaces have their names; `None` is `/run/clarateach/{instance}/netns`.
    pub namespaces: Option<PathBuf>,
}

/// Where images come from. They are looked for in this order: archives, the engine, what was converted before, the
/// registry.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Files that `docker save` wrote, or OCI layouts; a folder stands for the archives in it.
    pub archives: Vec<PathBuf>,
    /// Whether images are fetched from the registry of their name.
    pub registry: bool,
    /// Registries, as `host` or `host:port`, that are asked without TLS.
    pub insecure_registries: Vec<String>,
    /// Bytes of memory that a conversion may take ([`rootfs::Limits::memory`]).
    pub memory: u64,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            archives: Vec::new(),
            registry: false,
            insecure_registries: Vec::new(),
            memory: rootfs::Limits::MEMORY,
        }
    }
}

impl MicrovmConfig {
    /// Settings that are safe on a plain Linux host.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, keeper: KeeperCommand) -> Self {
        Self {
            state_dir: state_dir.into(),
            images: ImageConfig::default(),
            boot: None,
            pool: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 214, 0, 0), 16),
            subnet_prefix: None,
            seat_bound: SeatBound::default(),
            cni: None,
            egress: hostnet::EgressPolicy::default(),
            nameservers: Vec::new(),
            scratch_mib: 4096,
            data_mib: 8192,
            disk_throttle: None,
            bandwidth: hostnet::Bandwidth::default(),
            least_memory_mib: 96,
            overhead_mib: None,
            memory_percent: 100,
            least_free_mib: 1024,
            first_uid: Some(0x4000_0000),
            cgroup: Some("clarateach".into()),
            monitor: MonitorKind::Qemu,
            qemu: "qemu-system-x86_64".into(),
            firecracker: "firecracker".into(),
            jailer: Jailer::Program("jailer".into()),
            accelerator: Accelerator::Auto,
            snapshot: SnapshotUse::Off,
            keeper,
            auth_disabled: false,
            jwks_url: None,
            capabilities: guest_protocol::DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
            console_max_mib: 10,
            console_files: 2,
            stop_grace: Duration::from_secs(10),
            start_timeout: Duration::from_secs(60),
            restore_timeout: Duration::from_secs(60),
            clock_every: Duration::from_secs(60),
        }
    }

    /// The folder of the prepared kernel.
    #[must_use]
    pub fn boot_folder(&self) -> PathBuf {
        self.boot.clone().unwrap_or_else(|| self.state_dir.join("microvm/boot"))
    }

    /// How QEMU is used.
    pub(crate) fn qemu(&self) -> QemuOptions {
        QemuOptions { program: self.qemu.clone(), ..QemuOptions::new(self.keeper.clone()) }
    }

    /// How Firecracker is used.
    pub(crate) fn firecracker(&self) -> FirecrackerOptions {
        FirecrackerOptions {
            program: self.firecracker.clone(),
            jailer: self.jailer.clone(),
            ..FirecrackerOptions::new(self.keeper.clone())
        }
    }

    /// The first of the users that monitors run as; nothing where they run as the service's own.
    pub(crate) fn first_uid(&self) -> Option<u32> {
        // A monitor without a jail opens its files itself, which are root's.
        self.first_uid.filter(|_| !self.is_unjailed())
    }

    /// Whether monitors are without the jail that they could have.
    pub(crate) fn is_unjailed(&self) -> bool {
        self.monitor == MonitorKind::Firecracker && self.jailer == Jailer::Off
    }

    /// What the network of this instance is to be like.
    pub(crate) fn network(&self, instance: hostnet::InstanceId) -> hostnet::Options {
        hostnet::Options {
            instance,
            egress: self.egress.clone(),
            resolvers: self.name_servers().within_reach(),
            pool: self.pool,
            bandwidth: self.bandwidth,
        }
    }

    /// Whom seats ask for names.
    pub(crate) fn name_servers(&self) -> NameServers {
        NameServers::new(&self.nameservers, "/")
    }

    /// How an operator's network is used, if one is.
    pub(crate) fn cni_options(
        &self,
        instance: &hostnet::InstanceId,
        folder: &std::path::Path,
    ) -> Option<hostnet::cni::CniOptions> {
        let CniConfig { network, config_dir, bin_dirs, timeout, namespaces } = self.cni.clone()?;
        Some(hostnet::cni::CniOptions {
            namespaces: namespaces.unwrap_or_else(|| hostnet::cni::CniOptions::namespaces_of(instance)),
            cache: folder.join("cni"),
            limit: timeout,
            instance: instance.clone(),
            network,
            config_dir,
            bin_dirs,
        })
    }

    /// The prefix length of a workshop's subnet.
    ///
    /// # Errors
    /// When a subnet of the configured size has no room for every seat, or does not fit into the pool.
    pub fn subnet_prefix(&self) -> Result<u8, ConfigError> {
        // Every seat, the gateway, and the network and broadcast addresses.
        let needed = u32::from(self.seat_bound.highest()) + 3;
        let smallest = 32 - u8::try_from(needed.next_power_of_two().trailing_zeros()).unwrap_or(32);
        let prefix = self.subnet_prefix.unwrap_or(smallest);
        if prefix > smallest {
            return Err(ConfigError::SubnetTooSmall { prefix, smallest, seats: self.seat_bound.highest() });
        }
        if prefix < self.pool.prefix_len() {
            return Err(ConfigError::PoolTooSmall { pool: self.pool, prefix });
        }
        Ok(prefix)
    }

    /// Checks what can be checked without looking at the host.
    ///
    /// # Errors
    /// With the first setting that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.subnet_prefix()?;
        let least = u32::try_from(rootfs::ext4::LEAST_EMPTY >> 20).unwrap_or(u32::MAX);
        for (setting, mib) in [("microvm.scratch_mib", self.scratch_mib), ("microvm.data_mib", self.data_mib)]
        {
            if mib < least {
                return Err(ConfigError::DiskTooSmall { setting, mib, least });
            }
        }
        if self.least_memory_mib < 64 {
            return Err(ConfigError::MemoryTooSmall(self.least_memory_mib));
        }
        if !(10..=1000).contains(&self.memory_percent) {
            return Err(ConfigError::MemoryPercent(self.memory_percent));
        }
        if self.monitor == MonitorKind::Firecracker {
            if self.accelerator == Accelerator::Tcg {
                return Err(ConfigError::Untranslated);
            }
            if self.jailer == Jailer::Off && self.snapshot == SnapshotUse::Auto {
                return Err(ConfigError::SnapshotsTakeJails);
            }
            if self.jailer != Jailer::Off && self.first_uid.is_none() {
                return Err(ConfigError::JailOfRoot);
            }
        }
        Ok(())
    }
}

/// Why a [`MicrovmConfig`] cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The subnets have no room for a whole class.
    #[error(
        "microvm.subnet_prefix /{prefix} has no room for {seats} seats; use /{smallest} or larger, or lower seats.max"
    )]
    SubnetTooSmall {
        /// What is configured.
        prefix: u8,
        /// The smallest subnet that does.
        smallest: u8,
        /// The highest seat number.
        seats: u16,
    },
    /// Not one subnet fits.
    #[error("microvm.pool {pool} has no room for one workshop of /{prefix}")]
    PoolTooSmall {
        /// What is configured.
        pool: Ipv4Net,
        /// The subnet that is needed.
        prefix: u8,
    },
    /// A disk that has no room for a file system.
    #[error("{setting} is {mib}, and a disk has at least {least} MiB")]
    DiskTooSmall {
        /// Which setting.
        setting: &'static str,
        /// What is configured.
        mib: u32,
        /// The smallest that can be.
        least: u32,
    },
    /// No guest boots with so little.
    #[error("microvm.least_memory_mib is {0}, and no guest boots with less than 64 MiB")]
    MemoryTooSmall(u32),
    /// Firecracker has no translator.
    #[error(
        "microvm.monitor is firecracker, which runs guests with KVM alone, and microvm.accelerator is tcg: choose auto or kvm, or qemu"
    )]
    Untranslated,
    /// A snapshot of Firecracker names disks by their paths, which are the same for all seats in jails alone.
    #[error(
        "microvm.snapshot is auto, and a snapshot of Firecracker takes a jail: set microvm.snapshot to off, or name a microvm.jailer"
    )]
    SnapshotsTakeJails,
    /// A jail is for a user of its own.
    #[error("microvm.jailer needs a user for each seat: set microvm.first_uid")]
    JailOfRoot,
    /// Not a share of the host's memory that makes sense.
    #[error("microvm.memory_percent is from 10 to 1000, not {0}")]
    MemoryPercent(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MicrovmConfig {
        MicrovmConfig::new("/x", KeeperCommand { program: "/bin/false".into(), args: Vec::new() })
    }

    #[test]
    fn the_default_can_be() {
        assert_eq!(config().check(), Ok(()));
        assert_eq!(config().subnet_prefix(), Ok(25));
        assert_eq!(config().boot_folder(), PathBuf::from("/x/microvm/boot"));
    }

    #[test]
    fn what_cannot_be_is_said_by_its_setting() {
        let said = |config: MicrovmConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            said(MicrovmConfig { data_mib: 15, ..config() }),
            "microvm.data_mib is 15, and a disk has at least 16 MiB"
        );
        assert!(said(MicrovmConfig { subnet_prefix: Some(26), ..config() }).contains("use /25"));
        assert!(said(MicrovmConfig { pool: "10.0.0.0/26".parse().unwrap(), ..config() }).contains("no room"));
        assert!(said(MicrovmConfig { least_memory_mib: 32, ..config() }).contains("64 MiB"));
        let firecracker = MicrovmConfig { monitor: MonitorKind::Firecracker, ..config() };
        assert_eq!(firecracker.check(), Ok(()));
        let translated = MicrovmConfig { accelerator: Accelerator::Tcg, ..firecracker.clone() };
        assert!(said(translated).contains("choose auto or kvm"));
        let of_root = MicrovmConfig { first_uid: None, ..firecracker };
        assert_eq!(MicrovmConfig { jailer: Jailer::Off, ..of_root.clone() }.check(), Ok(()));
        assert!(said(of_root.clone()).contains("microvm.first_uid"));
        let restored = MicrovmConfig { jailer: Jailer::Off, snapshot: SnapshotUse::Auto, ..of_root.clone() };
        assert!(said(restored).contains("takes a jail"));
        let users = |jailer| MicrovmConfig { jailer, first_uid: Some(7000), ..of_root.clone() }.first_uid();
        assert_eq!(users(Jailer::Off), None);
        assert_eq!(users(Jailer::Program("jailer".into())), Some(7000));
        assert!(said(MicrovmConfig { memory_percent: 0, ..config() }).contains("10 to 1000"));
    }
}
