//! What a VM is to be.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RunFolder;

/// One VM, whichever monitor runs it.
///
/// For QEMU the files it names are opened by the keeper, as root, and handed over open: the VM's own user needs no permission on any of them but the
/// right to read `kernel` and `initramfs`, which hold nothing of a seat. Firecracker opens all of them itself, and the TAP device too, as that user.
#[derive(Clone, Debug)]
pub struct VmSpec {
    /// The seat, as errors name it: `demo/3`.
    pub seat: String,
    /// Where the sockets and records of this VM are; no other VM's.
    pub folder: RunFolder,
    /// The kernel: a bzImage or what else the monitor takes. Must be readable by `user`.
    pub kernel: PathBuf,
    /// The first root file system. Must be readable by `user`.
    pub initramfs: PathBuf,
    /// Words of the kernel's command line beyond those the monitor puts there. No secrets: the guest shows it to everybody.
    pub command_line: String,
    /// Virtual processors, 1 to 64.
    pub vcpus: u8,
    /// The guest's memory in MiB, at least 64.
    pub memory_mib: u32,
    /// At most six.
    pub drives: Vec<Drive>,
    /// At most one.
    pub nics: Vec<Nic>,
    /// The network namespace that the TAP devices are in, by its file (ip-netns(8)); the keeper and the monitor run in it. Nothing: the service's.
    pub network_namespace: Option<PathBuf>,
    /// Who the monitor runs as; nothing: as the service itself, for tests.
    pub user: Option<UserIds>,
    /// What it may use of the host; nothing: what the service may, for tests.
    pub cgroup: Option<CgroupSpec>,
    /// Where the serial console and the monitor's own messages go.
    pub console: LogFile,
    /// Hardware virtualization or not.
    pub accelerator: Accelerator,
}

/// A disk: a raw image, found by the guest by its serial.
#[derive(Clone, Debug)]
pub struct Drive {
    /// The raw image.
    pub path: PathBuf,
    /// How the guest finds it.
    pub serial: Serial,
    /// Whether the guest may only read. An image that several VMs read may be written by none.
    pub read_only: bool,
    /// How fast it may be used.
    pub throttle: Option<Throttle>,
}

/// A network interface.
///
/// There is no throttle here, because QEMU has none for its interfaces: what a monitor that shapes nothing leaves to be done on the TAP is
/// told by [`super::MonitorKind::shapes_network`].
#[derive(Clone, Debug)]
pub struct Nic {
    /// A TAP device that is there already and persists.
    pub tap: InterfaceName,
    /// The guest's address on it, by which it finds the interface.
    pub mac: MacAddress,
}

/// How fast a drive may be used. Zero is without a limit; bursts of one second are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Bytes read and written a second.
    pub bytes_per_second: u64,
    /// Operations a second.
    pub operations_per_second: u64,
}

/// A user and a group by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIds {
    /// The user.
    pub uid: u32,
    /// The group; there are no others but `/dev/kvm`'s, with KVM.
    pub gid: u32,
}

/// The cgroup of a VM: `{parent}/{name}` in each hierarchy that has one of the controllers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// The cgroup that holds those of all VMs, below the root of the hierarchy; `clarateach` unless an operator says otherwise.
    pub parent: String,
    /// This VM's own; not that of any other VM on the host.
    pub name: String,
    /// Memory of the monitor, the guest's included, in bytes.
    pub memory_bytes: u64,
    /// Thousandths of a processor.
    pub cpu_millis: u32,
    /// Threads of the monitor.
    pub pids: u32,
}

/// A file that cannot grow without bound: `{path}` and older parts `{path}.1`, `{path}.2` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The newest part.
    pub path: PathBuf,
    /// The size in bytes at which a new part begins.
    pub max_bytes: u64,
    /// How many parts there are at most, the newest included; at least one.
    pub files: u32,
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// KVM where a probe says that guests run with it, else TCG.
    #[default]
    Auto,
    /// Hardware virtualization, or no VM.
    Kvm,
    /// QEMU's own translator, which works everywhere, slowly.
    Tcg,
}

/// The serial of a drive: 1 to 20 letters, digits, `-` or `_` (virtio-blk has room for 20 bytes).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serial(String);

/// The name of a network interface: 1 to 15 bytes without `/`, white space, or a comma.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// What is wrong with a VM's specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A drive's serial.
    #[error("{0:?} is no serial of a drive: 1 to 20 letters, digits, - or _")]
    Serial(String),
    /// An interface's name.
    #[error("{0:?} is no name of a network interface: 1 to 15 bytes without /, white space or comma")]
    Interface(String),
    /// Another bound; the text says which.
    #[error("{0}")]
    Bound(String),
}

impl VmSpec {
    /// Checks the bounds that the fields name.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let bound = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(SpecError::Bound(what.to_owned())) }
        };
        bound((1..=64).contains(&self.vcpus), "1 to 64 virtual processors are possible")?;
        bound(self.memory_mib >= 64, "a guest needs at least 64 MiB of memory")?;
        bound(self.drives.len() <= 6, "at most 6 drives are possible")?;
        bound(self.nics.len() <= 1, "at most one network interface is possible")?;
        bound(self.console.max_bytes >= 4096, "a console's log needs at least 4096 bytes a part")?;
        bound((1..=100).contains(&self.console.files), "a console's log has 1 to 100 parts")?;
        let serials: std::collections::BTreeSet<_> =
            self.drives.iter().map(|drive| drive.serial.as_str()).collect();
        bound(serials.len() == self.drives.len(), "two drives have the same serial")?;
        let no_control = |text: &str| !text.chars().any(char::is_control);
        bound(no_control(&self.command_line), "the kernel's command line holds a control character")?;
        bound(no_control(&self.seat), "the seat's name holds a control character")?;
        if let Some(cgroup) = &self.cgroup {
            cgroup.check()?;
        }
        Ok(())
    }
}

impl CgroupSpec {
    /// The same memory in whole MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.memory_bytes >> 20
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() <= 200
                && !name.starts_with('.')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
        };
        if !plain(&self.name) || !self.parent.split('/').all(plain) {
            let name = format!("{}/{}", self.parent, self.name);
            return Err(SpecError::Bound(format!("{name:?} is no name of a cgroup")));
        }
        if self.memory_bytes < 1 << 20 || self.cpu_millis < 10 || self.pids < 8 {
            let what =
                "a VM's cgroup needs at least 1 MiB of memory, 10 thousandths of a processor and 8 threads";
            return Err(SpecError::Bound(what.into()));
        }
        Ok(())
    }
}

impl Serial {
    /// Parses one.
    ///
    /// # Errors
    /// When it is too long or holds something else.
    pub fn new(text: &str) -> Result<Self, SpecError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=20).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::Serial(text.to_owned()))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InterfaceName {
    /// Parses one (`dev_valid_name` of the kernel, and no comma).
    ///
    /// # Errors
    /// When no interface can have that name.
    pub fn new(text: &str) -> Result<Self, SpecError> {
        let bad = |char: char| char.is_whitespace() || char.is_control() || "/:,".contains(char);
        if (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.contains(bad) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::Interface(text.to_owned()))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
