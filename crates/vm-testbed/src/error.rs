//! Why no guest booted.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Console;

/// Why no guest booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Something that it takes is not on this machine; a test that gets this is to be counted as skipped.
    #[error("{0}")]
    Missing(String),
    /// The kernel's modules.
    #[error(transparent)]
    Module(#[from] guest_boot::modules::ModuleError),
    /// The first root cannot be written down.
    #[error(transparent)]
    Archive(#[from] guest_boot::cpio::CpioError),
    /// A file cannot be read or written.
    #[error("{}: {why}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// A program of this host that makes something for a test failed.
    #[error("{program} ended with {status}: {said}")]
    Tool {
        /// Which.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        said: String,
    },
    /// The guest did not end by itself, and was killed.
    #[error("the guest did not end within {} s and was killed; its console ends with:\n{}", .limit.as_secs(), .console.tail())]
    Hung {
        /// How long it had.
        limit: Duration,
        /// What it said.
        console: Console,
    },
    /// The guest ended, or came to a stand, before the program that was to run in it had ended.
    #[error("the guest ended or stood still before its program had ended; that said:\n{said}\nthe console ends with:\n{}", .console.tail())]
    Ended {
        /// What the program said.
        said: String,
        /// What the guest said.
        console: Console,
        /// Whether it had not ended, and its processors did nothing any more.
        stands_still: bool,
    },
    /// QEMU failed.
    #[error("QEMU ended with {status}: {said}\nthe console ends with:\n{}", .console.tail())]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What QEMU said.
        said: String,
        /// What the guest said.
        console: Console,
    },
}

impl BootError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |why| Self::Io { path, why }
    }
}
