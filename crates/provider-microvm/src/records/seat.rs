//! The record of a seat.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use rootfs::store::EntryName;
use seats::{Limits, SeatId, SeatRef, WorkshopId};
use serde::{Deserialize, Serialize};

use super::parts::{Mac, number, text};
use super::{Unreadable, Wish, read, write};
use crate::state::SeatFolder;

/// A seat, as far as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatRecord {
    schema: u32,
    #[serde(with = "text")]
    workshop: WorkshopId,
    #[serde(with = "number")]
    seat: SeatId,
    /// 64 hex digits, others for each creation.
    pub(crate) id: String,
    /// How far it is.
    pub(crate) phase: Phase,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When its VM was started last.
    pub(crate) started_at: Timestamp,
    /// The run of the host in which its VM was started last.
    pub(crate) host_boot: String,
    /// What was asked for.
    pub(crate) wish: Wish,
    /// The converted image, by its name in the store.
    pub(crate) rootfs: String,
    /// The ports that the workspace listens on.
    pub(crate) ports: Vec<u16>,
    /// Where it is in the workshop's network.
    pub(crate) address: Address,
    /// The user that its monitor runs as.
    pub(crate) uid: Option<u32>,
    /// Whether the workspace was there before the seat was made: a create that fails keeps it.
    pub(crate) data_was_kept: bool,
    /// What the monitor that its VM was started in needs beside the guest's memory, in MiB. A record of before there were several does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overhead_mib: Option<u32>,
    /// What its VM goes on from; nothing when it has booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<Restored>,
}

/// A snapshot as it was opened for a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// Its name.
    pub(crate) snapshot: String,
    /// Which opening: seats of another have other memory under theirs.
    pub(crate) opening: String,
    /// How much of the host's memory that takes, once for all of them.
    pub(crate) memory_mib: u32,
}

/// How far a seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It is being made.
    Creating,
    /// It was made. Its VM runs, or has ended.
    Started,
    /// Its VM had ended and is being started again.
    Starting,
    /// It is being removed.
    Destroying {
        /// Whether the workspace is to stay.
        keep: bool,
    },
    /// Only its workspace is there.
    Kept,
}

/// Where a seat is in its workshop's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The guest's address; unspecified as long as an operator's network has not given one, and of a seat that has none any more.
    pub(crate) ip: Ipv4Addr,
    /// The guest's hardware address.
    pub(crate) mac: Mac,
    /// The host's end.
    pub(crate) tap: String,
}

/// The limits that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitsRecord {
    pub(crate) cpu_millis: u32,
    pub(crate) memory_mib: u32,
    pub(crate) pids: u32,
}

impl From<Limits> for LimitsRecord {
    fn from(limits: Limits) -> Self {
        let Limits { cpu_millis, memory_mib, pids } = limits;
        Self { cpu_millis, memory_mib, pids }
    }
}

/// What making a seat decides.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) host_boot: String,
    pub(crate) wish: Wish,
    pub(crate) rootfs: EntryName,
    pub(crate) ports: Vec<u16>,
    pub(crate) address: Address,
    pub(crate) uid: Option<u32>,
    pub(crate) data_was_kept: bool,
    pub(crate) overhead_mib: u32,
}

impl SeatRecord {
    const SCHEMA: u32 = 1;

    /// Of a seat that is about to be made.
    pub(crate) fn creating(seat: &SeatRef, made: Made) -> Self {
        let Made { id, host_boot, wish, rootfs, ports, address, uid, data_was_kept, overhead_mib } = made;
        // A second is as precise as an engine's listing is, and the API tells the same of both.
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        Self {
            schema: Self::SCHEMA,
            workshop: seat.workshop.clone(),
            seat: seat.seat,
            id,
            phase: Phase::Creating,
            created_at: now,
            started_at: now,
            host_boot,
            wish,
            rootfs: rootfs.to_string(),
            ports,
            address,
            uid,
            data_was_kept,
            overhead_mib: Some(overhead_mib),
            restored: None,
        }
    }

    pub(crate) fn of(&self) -> SeatRef {
        SeatRef::new(self.workshop.clone(), self.seat)
    }

    /// The converted image; nothing when the name is none.
    pub(crate) fn entry(&self) -> Option<EntryName> {
        self.rootfs.parse().ok()
    }

    /// The same in another phase.
    pub(crate) fn in_phase(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    /// The same of a seat that was started and has no VM any more, so it goes on from nothing.
    pub(crate) fn stopped(&self) -> Self {
        Self { restored: None, ..self.in_phase(Phase::Started) }
    }

    /// The same of a seat of which only the workspace is there: its address is free for others.
    pub(crate) fn kept(&self) -> Self {
        let ip = Ipv4Addr::UNSPECIFIED;
        let address = Address { ip, mac: Mac::of(ip), tap: self.address.tap.clone() };
        Self { address, ..self.in_phase(Phase::Kept) }
    }

    /// Whether only the workspace is there.
    pub(crate) fn is_kept(&self) -> bool {
        self.phase == Phase::Kept
    }

    /// The record of a seat; nothing when there is none.
    pub(crate) fn read(folder: &SeatFolder, seat: &SeatRef) -> Result<Option<Self>, Unreadable> {
        let found: Option<Self> = read(&folder.record(), Self::SCHEMA)?;
        match found {
            // Somebody copied a folder: what it names is another's.
            Some(record) if record.of() != *seat => {
                Err(Unreadable::Damaged(format!("it is that of seat {}", record.of())))
            }
            found => Ok(found),
        }
    }

    pub(crate) fn write(&self, folder: &SeatFolder) -> std::io::Result<()> {
        write(&folder.record(), self)
    }
}
