//! Processors.

use std::fmt;

use elf::abi;
use serde::{Deserialize, Serialize};

/// A processor that guests run on, in the kernel's words (`uname -m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit x86.
    I386,
    /// 64-bit Arm, little endian.
    Aarch64,
}

impl Architecture {
    /// That of this host; nothing where no microVM can be.
    #[must_use]
    pub fn of_host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// By the number in an ELF header.
    pub(crate) fn of_elf(machine: u16) -> Option<Self> {
        match machine {
            abi::EM_X86_64 => Some(Self::X86_64),
            abi::EM_386 => Some(Self::I386),
            abi::EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::Aarch64 => "aarch64",
        })
    }
}
