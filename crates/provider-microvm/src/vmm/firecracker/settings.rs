//! What Firecracker is told, typed: the parts of its API description that seats need, and only what its oldest accepted version takes.
//!
//! Bounds that it would refuse anyway are checked before anything is sent, so that what is wrong is told without a process.

use serde::{Serialize, Serializer};

use crate::vmm::{InterfaceName, MacAddress};

mod balloon;
mod drive;
mod limiter;
mod machine;
mod network;
mod process;
mod snapshot;
mod vsock;

pub(super) use balloon::{Amount, Interval};
pub use balloon::{Balloon, BalloonStats};
pub use drive::{CacheType, Drive, DrivePatch, IoEngine};
pub use limiter::{RateLimiter, TokenBucket};
pub(super) use machine::{Action, State};
pub use machine::{BootSource, Entropy, HugePages, MachineConfig};
pub use network::{NetworkInterface, NetworkPatch};
pub use process::{LogLevel, Logger, Metrics, Serial};
pub(super) use snapshot::Load;
pub use snapshot::{MemoryBackend, NetworkOverride, SnapshotFiles, SnapshotLoad, SnapshotType};
pub use vsock::Vsock;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub(super) String);

/// Something that can be sent.
pub(super) trait Check: Serialize {
    /// Checks the bounds that the fields name.
    fn check(&self) -> Result<(), SettingError>;
}

/// The name of a drive or network interface: 1 to 64 letters of ASCII, digits or `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct DeviceId(String);

impl DeviceId {
    /// Parses one (`checked_id` of Firecracker's API server, which has no bound on the length).
    ///
    /// # Errors
    /// When it is empty or too long or holds something else.
    pub fn new(text: &str) -> Result<Self, SettingError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SettingError(format!("{text:?} is no name of a device: 1 to 64 letters, digits or _")))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bound(holds: bool, what: &str) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError(what.to_owned())) }
}

fn name<S: Serializer>(name: &InterfaceName, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name.as_str())
}

fn mac<S: Serializer>(mac: &MacAddress, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(mac)
}

#[cfg(test)]
mod tests;
