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
    /// The bridge.
    pub(crate) bridge: String,
    /// Its addresses.
    pub(crate) subnet: Ipv4Net,
}

impl WorkshopRecord {
    const SCHEMA: u32 = 1;

    pub(crate) fn new(workshop: WorkshopId, bridge: String, subnet: Ipv4Net) -> Self {
        Self { schema: Self::SCHEMA, workshop, bridge, subnet }
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

    /// The host's own address among the workshop's: the first.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.subnet.hosts().next().unwrap_or(self.subnet.addr())
    }
}
