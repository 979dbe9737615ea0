//! What a kernel's file is: its format and processor by its header, and its configuration.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Architecture, KernelError};

mod bzimage;
mod config;
mod vmlinux;

pub use config::{Config, Setting};

/// The largest kernel, packed or not, in bytes: a distribution's with all its symbols has some hundred MiB.
pub const MAX_KERNEL: usize = 512 << 20;

/// The format of a kernel's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelFormat {
    /// What x86 boots, packed (Documentation/arch/x86/boot.rst of the kernel).
    BzImage,
    /// An ELF file.
    Vmlinux,
}

impl std::fmt::Display for KernelFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BzImage => "bzImage",
            Self::Vmlinux => "ELF vmlinux",
        })
    }
}

/// A kernel's file, read and understood.
#[derive(Clone, Debug)]
pub struct Kernel {
    path: PathBuf,
    format: KernelFormat,
    architecture: Architecture,
    version: String,
    bytes: Vec<u8>,
}

impl Kernel {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no kernel, or not the whole of one.
    pub fn read(path: &Path) -> Result<Self, KernelError> {
        let unread = |why| KernelError::Read { path: path.into(), why };
        // Before it is opened: a named pipe would wait for its other end.
        if !std::fs::metadata(path).map_err(unread)?.is_file() {
            return Err(unread(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unread)?;
        file.take(MAX_KERNEL as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() > MAX_KERNEL {
            return Err(unread(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 512 MiB")));
        }
        let wrong = |why| KernelError::Wrong { path: path.into(), why };
        let (format, (architecture, version)) = if bytes.starts_with(elf::abi::ELFMAGIC.as_slice()) {
            (KernelFormat::Vmlinux, vmlinux::read(&bytes).map_err(wrong)?)
        } else {
            (KernelFormat::BzImage, bzimage::read(&bytes).map_err(wrong)?)
        };
        Ok(Self { path: path.into(), format, architecture, version, bytes })
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> KernelFormat {
        self.format
    }

    /// Its processor.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Its version, as `uname -r` shows it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The ELF file in it: what a bzImage unpacks when it boots, or the file itself.
    ///
    /// # Errors
    /// When it is damaged, or packed in a way that is not known here.
    pub fn vmlinux(&self) -> Result<std::borrow::Cow<'_, [u8]>, KernelError> {
        match self.format {
            KernelFormat::Vmlinux => Ok(self.bytes.as_slice().into()),
            KernelFormat::BzImage => {
                let unpacked = bzimage::payload(&self.bytes);
                unpacked.map(Into::into).map_err(|why| KernelError::Unpack { path: self.path.clone(), why })
            }
        }
    }

    /// The same kernel as the ELF file in it.
    ///
    /// # Errors
    /// As [`Kernel::vmlinux`].
    pub fn unpacked(self) -> Result<Self, KernelError> {
        let bytes = self.vmlinux()?.into_owned();
        Ok(Self { format: KernelFormat::Vmlinux, bytes, ..self })
    }

    /// Whether an ELF file says where it is entered without a boot loader (a PVH note), as QEMU and Firecracker want it; a bzImage needs no note.
    #[must_use]
    pub fn has_direct_entry(&self) -> bool {
        match self.format {
            KernelFormat::BzImage => true,
            KernelFormat::Vmlinux => {
                self.architecture != Architecture::X86_64 || vmlinux::has_pvh_note(&self.bytes)
            }
        }
    }

    /// The configuration that is in the kernel itself (`CONFIG_IKCONFIG`), where there is one and it can be read.
    #[must_use]
    pub fn own_config(&self) -> Option<Config> {
        config::embedded(&self.vmlinux().ok()?)
    }
}
