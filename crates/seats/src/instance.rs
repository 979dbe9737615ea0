//! What runs for a seat right now.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::{ProviderKind, SeatRef};

/// How far a seat's instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made, or runs but does not answer yet.
    Starting,
    /// Its workspace answers.
    Running,
    /// It was stopped on purpose and keeps its data.
    Stopped,
    /// It cannot serve a learner; [`Instance::reason`] says why and what to do.
    Error,
}

impl Status {
    /// Every status, in the order of a seat's life.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::Stopped, Self::Error];

    /// The word that the API and the metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The container or microVM of a seat, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The provider's own id (for Docker the 64 hexadecimal digits of the container); `None` while nothing has
    /// been made yet.
    pub id: Option<String>,
    /// Whose it is.
    pub seat: SeatRef,
    /// Its address, while it has one.
    pub ip: Option<IpAddr>,
    /// How far it is.
    pub status: Status,
    /// The ports that the workspace listens on inside the seat, the terminal's first.
    pub ports: Vec<u16>,
    /// Where each of those ports is reached from the host, as a URL without a path.
    pub endpoints: BTreeMap<u16, String>,
    /// The image reference that it was made from.
    pub image: String,
    /// What runs it.
    pub provider: ProviderKind,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it will be removed by itself, if ever.
    pub expires_at: Option<Timestamp>,
    /// Why it is not `running`, in words a person can act on.
    pub reason: Option<String>,
}

impl Instance {
    /// Where the seat's first port is reached: the workspace's front door.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.ports.first().and_then(|port| self.endpoints.get(port)).map(String::as_str)
    }
}
