//! What can go wrong with Firecracker's API.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{InstanceState, SettingError, Version};

/// Why Firecracker did not do what it was told over its API.
#[derive(Debug, thiserror::Error)]
#[error("seat {seat}: {call}: {trouble}")]
pub struct FirecrackerError {
    /// Whose machine it is.
    pub seat: String,
    /// The call: `PUT /drives/root`.
    pub call: String,
    /// What went wrong with it.
    #[source]
    pub trouble: Trouble,
}

/// What went wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The socket is not there, or nobody listens on it.
    #[error("Firecracker's API socket {} cannot be reached: {why}; it has ended or did not start", .socket.display())]
    Unreachable {
        /// Where it should be.
        socket: PathBuf,
        /// Why not.
        #[source]
        why: io::Error,
    },
    /// The connection ended before the answer was whole.
    #[error("Firecracker closed its API socket before it had answered: {0}")]
    Broken(String),
    /// There was no answer in time. Whether the call had its effect is not known.
    #[error("Firecracker did not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// There was none when the time was over that all calls have together. Whether the call had its effect is not known.
    #[error("Firecracker had not answered when the {} s of a start were over", .0.as_secs_f32())]
    Late(Duration),
    /// Firecracker says no, and why.
    #[error("Firecracker refuses: {fault}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// Its `fault_message`, cut and without control characters.
        fault: String,
    },
    /// An answer that is none of Firecracker's.
    #[error("what answers does not speak Firecracker's API: {0}")]
    Garbage(String),
    /// What was asked for is out of bounds; nothing was sent.
    #[error("{0}")]
    Setting(#[source] SettingError),
    /// It is older than what is needed.
    #[error("it is Firecracker {found}, and at least {least} is needed: install a newer one", least = Version::LEAST)]
    TooOld {
        /// Its version.
        found: Version,
    },
    /// The machine is in another state than the one that was expected.
    #[error(
        "the machine is {found}, and {wanted} was expected: another one uses this socket, or it was started again"
    )]
    State {
        /// How it is.
        found: InstanceState,
        /// How it should be.
        wanted: &'static str,
    },
}

impl Trouble {
    /// Whether the process may have ended: then how it ended is the better reason.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken(_))
    }
}
