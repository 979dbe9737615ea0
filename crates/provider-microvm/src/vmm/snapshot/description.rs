//! What a snapshot says of itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::random;
use crate::vmm::MonitorKind;

/// The number of this layout.
pub(super) const FORMAT: u32 = 1;

/// `snapshot.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    /// Read first, by itself: of another layout nothing else is understood.
    pub(super) format: u32,
    pub(super) traits: Traits,
    pub(super) memory: FileTraits,
    pub(super) state: FileTraits,
}

/// A file of a snapshot as it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileTraits {
    pub(super) bytes: u64,
    /// SHA-256 in hex digits: of `state` as it is, of `memory` as [`super::Memory`] counts it.
    pub(super) sha256: String,
}

/// What must be equal of the VM that was saved and of those that are started from it. A monitor finds its own state again only in the same machine, and
/// the guest's kernel has looked at that machine once and will not again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// Which monitor.
    pub monitor: MonitorKind,
    /// Its version: QEMU's `microvm` has no state that another version promises to understand (docs/system/i386/microvm.rst of QEMU).
    pub version: String,
    /// The digest of its program: a distribution's correction keeps the version.
    pub program: String,
    /// What runs the guest's instructions: with KVM this host's processor and kernel.
    pub processor: String,
    /// The digest of the kernel's file.
    pub kernel: String,
    /// The digest of the first root's file.
    pub initramfs: String,
    /// The image, in the caller's words.
    pub image: String,
    /// Virtual processors.
    pub vcpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The disks, in the machine's order. Their content is not compared: a guest that has mounted none has read nothing that it would rely on.
    pub drives: Vec<DriveTraits>,
    /// The monitor's command line without what is a seat's own.
    pub machine: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveTraits {
    /// Its serial.
    pub serial: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Its size, which a guest asks for once.
    pub bytes: u64,
}

/// Something that is not equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: &'static str,
    /// How it was when the snapshot was made.
    pub made: String,
    /// How it is where it was to be used.
    pub here: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, made, here } = self;
        write!(f, "with {what} {made}, and here it is {here}")
    }
}

impl Traits {
    /// A name for all of it: 32 hex digits.
    #[must_use]
    pub fn name(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        random::digits(&Sha256::digest(text)[..16])
    }

    /// Those of a small VM with one disk, for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            monitor: MonitorKind::Qemu,
            version: "7.2.22".into(),
            program: "aa".into(),
            processor: "QEMU's own".into(),
            kernel: "bb".into(),
            initramfs: "cc".into(),
            image: "sha256:dd".into(),
            vcpus: 1,
            memory_mib: 1,
            drives: vec![DriveTraits { serial: "root".into(), read_only: true, bytes: 4096 }],
            machine: vec!["-smp".into(), "1".into()],
        }
    }

    /// The first that differs.
    pub(super) fn difference(&self, here: &Self) -> Option<Difference> {
        let pairs = [
            ("the monitor", format!("{:?}", self.monitor), format!("{:?}", here.monitor)),
            ("the monitor's version", self.version.clone(), here.version.clone()),
            ("the monitor's program of digest", self.program.clone(), here.program.clone()),
            ("the processor", self.processor.clone(), here.processor.clone()),
            ("the kernel of digest", self.kernel.clone(), here.kernel.clone()),
            ("the first root of digest", self.initramfs.clone(), here.initramfs.clone()),
            ("the image", self.image.clone(), here.image.clone()),
            ("virtual processors", self.vcpus.to_string(), here.vcpus.to_string()),
            ("MiB of memory", self.memory_mib.to_string(), here.memory_mib.to_string()),
            ("the disks", disks(&self.drives), disks(&here.drives)),
            ("the machine", self.machine.join(" "), here.machine.join(" ")),
        ];
        let (what, made, here) = pairs.into_iter().find(|(_, made, here)| made != here)?;
        Some(Difference { what, made, here })
    }
}

fn disks(drives: &[DriveTraits]) -> String {
    let one = |drive: &DriveTraits| {
        let read_only = if drive.read_only { " to be read" } else { "" };
        format!("{}{read_only} of {} bytes", drive.serial, drive.bytes)
    };
    drives.iter().map(one).collect::<Vec<_>>().join(", ")
}
