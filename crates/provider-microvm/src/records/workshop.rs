//! The record of a workshop: its network.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use seats::WorkshopId;
use serde::{Deserialize, Serialize};

use super::{Unreadable, parts::text, read, write};
use crate::state::WorkshopFolder;

/// The network of a workshop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkshopRecord {
    schema: u32,
    #[serde(with = "text")]
    pub(crate) workshop: WorkshopId,
    /// How its seats are connected.
    #[serde(flatten)]
    pub(crate) wiring: Wiring,
}

/// How the seats of a workshop are connected; that stays as it is while the workshop is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Wiring {
    /// By a bridge of ours.
    Bridge {
        /// What it is called.
        bridge: String,
        /// Its addresses.
        subnet: Ipv4Net,
    },
    /// By a network of the operator's.
    Cni {
        /// What that was called when the workshop was made.
        cni_network: String,
    },
}

impl Wiring {
    /// The addresses that are the workshop's alone.
    pub(crate) fn subnet(&self) -> Option<Ipv4Net> {
        match self {
            Self::Bridge { subnet, .. } => Some(*subnet),
            Self::Cni { .. } => None,
        }
    }

    /// The host's own address among them: the first.
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        self.subnet().map(|subnet| subnet.hosts().next().unwrap_or(subnet.addr()))
    }
}

impl WorkshopRecord {
    const SCHEMA: u32 = 1;

    pub(crate) fn new(workshop: WorkshopId, wiring: Wiring) -> Self {
        Self { schema: Self::SCHEMA, workshop, wiring }
    }

    pub(crate) fn read(folder: &WorkshopFolder) -> Result<Option<Self>, Unreadable> {
        let found: Option<Self> = read(&folder.record(), Self::SCHEMA)?;
        match found {
            Some(record) if !folder.path().ends_with(record.workshop.as_str()) => {
                Err(Unreadable::Damaged(format!("it is that of workshop {}", record.workshop)))
            }
            found => Ok(found),
        }
    }

    pub(crate) fn write(&self, folder: &WorkshopFolder) -> std::io::Result<()> {
        write(&folder.record(), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_network_are_read_back() {
        // As it has been since there are records.
        let bridge = r#"{"schema":1,"workshop":"rust-101","bridge":"ctb00","subnet":"10.214.0.0/25"}"#;
        let record: WorkshopRecord = serde_json::from_str(bridge).unwrap();
        assert_eq!(record.wiring.gateway(), Some(Ipv4Addr::new(10, 214, 0, 1)));
        assert_eq!(serde_json::to_string(&record).unwrap(), bridge);
        let cni = WorkshopRecord::new(record.workshop, Wiring::Cni { cni_network: "lab".into() });
        let text = serde_json::to_string(&cni).unwrap();
        assert_eq!(text, r#"{"schema":1,"workshop":"rust-101","cni_network":"lab"}"#);
        assert_eq!(serde_json::from_str::<WorkshopRecord>(&text).unwrap(), cni);
        assert_eq!((cni.wiring.subnet(), cni.wiring.gateway()), (None, None));
        assert!(serde_json::from_str::<WorkshopRecord>(r#"{"schema":1,"workshop":"rust-101"}"#).is_err());
    }
}
