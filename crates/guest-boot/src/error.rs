//! What can be wrong with a kernel, an agent, and making a boot of them.

use std::io;
use std::path::PathBuf;

use crate::Architecture;
use crate::cpio::CpioError;
use crate::modules::ModuleError;

/// Why a file cannot be the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It cannot be read.
    #[error("the kernel {} cannot be read: {why}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// It is none, or not the whole of one.
    #[error("{} cannot be the kernel: {why}", .path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// What it unpacks cannot be had.
    #[error("the kernel {} cannot be unpacked: {why}", .path.display())]
    Unpack {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

/// Why a program cannot be the first process of a guest.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It cannot be read.
    #[error("the guest agent {} cannot be read: {why}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// It is no program that a guest could start.
    #[error("{} cannot be the guest agent: {why}", .path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Why no boot was prepared. What was prepared before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No kernel is where it was looked for.
    #[error("no kernel was found: {0}")]
    NoKernel(String),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel is for other machines.
    #[error("the kernel is for {found}, and this host runs guests for {host}")]
    Architecture {
        /// The kernel's.
        found: Architecture,
        /// The host's.
        host: String,
    },
    /// The kernel's modules.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// A module is for another kernel.
    #[error("the module {module} is for the kernel {found}, and this is {version}")]
    OtherKernel {
        /// Which.
        module: String,
        /// The kernel that it names.
        found: String,
        /// The kernel that there is.
        version: String,
    },
    /// The kernel lacks what seats need.
    #[error("the kernel {version} lacks what seats need: {}", .missing.join(", "))]
    Lacks {
        /// Which kernel.
        version: String,
        /// What, each with its setting.
        missing: Vec<String>,
    },
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The first root cannot be written down.
    #[error("the first root cannot be made: {0}")]
    Archive(#[from] CpioError),
    /// It cannot be kept.
    #[error("{} cannot be written: {why}", .path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

impl SetupError {
    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoKernel(_) => {
                "unpack a distribution's kernel package (dpkg -x linux-image-….deb FOLDER) and name the folder by --from"
            }
            Self::Kernel(_) => {
                "name another kernel by --from: a vmlinux, a bzImage, or the folder of an unpacked kernel package"
            }
            Self::Architecture { .. } => "take the kernel package for this machine's processor",
            Self::Modules(_) | Self::OtherKernel { .. } => {
                "unpack the whole kernel package again: the kernel and its modules must be of one build"
            }
            Self::Lacks { .. } => {
                "take a kernel with these as part of it or as modules, such as the distribution's cloud kernel"
            }
            Self::Agent(_) => "build the agent (cargo xtask agent), or name it by --agent",
            Self::Archive(_) => "name files with plain names",
            Self::Write { .. } => "make room, or correct the owner of the state directory",
        }
    }
}
