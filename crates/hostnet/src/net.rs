//! What a workshop and a seat have of the host's network.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use seats::{SeatRef, WorkshopId};

use crate::error::NetError;
use crate::ipam;
use crate::mac::Mac;
use crate::names::{IfName, InstanceId, Owner};

/// The network of a workshop: a bridge, its address and what is reached over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkshopNet {
    workshop: WorkshopId,
    bridge: IfName,
    subnet: Ipv4Net,
}

impl WorkshopNet {
    /// The network of a workshop on this subnet.
    ///
    /// # Errors
    /// [`NetError::Input`] when the subnet has no room for a gateway and a seat.
    pub fn new(instance: &InstanceId, workshop: WorkshopId, subnet: Ipv4Net) -> Result<Self, NetError> {
        if subnet.prefix_len() > ipam::LONGEST_PREFIX || subnet.prefix_len() == 0 || subnet.trunc() != subnet
        {
            let detail = format!(
                "{subnet} is no subnet for a workshop: it needs a size from /1 to /{} and an address without host bits",
                ipam::LONGEST_PREFIX
            );
            return Err(NetError::Input { for_whom: format!("workshop {workshop}"), detail });
        }
        Ok(Self { bridge: instance.bridge(&workshop), workshop, subnet })
    }

    /// Whose it is.
    #[must_use]
    pub fn workshop(&self) -> &WorkshopId {
        &self.workshop
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> &IfName {
        &self.bridge
    }

    /// The addresses of the workshop.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// The bridge's address, over which seats reach everything.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        ipam::gateway(self.subnet)
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::Workshop(self.workshop.clone())
    }
}

/// A seat's place on the bridge of its workshop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    seat: SeatRef,
    tap: IfName,
    address: Ipv4Addr,
    /// The user that may open the TAP device beside root, the VMM's.
    pub uid: u32,
    /// The group that may open it.
    pub gid: u32,
}

impl Port {
    /// The port of a seat with this address.
    ///
    /// # Errors
    /// [`NetError::Input`] when the workshop is another, or the address is not one for a seat in its subnet.
    pub fn new(
        instance: &InstanceId,
        net: &WorkshopNet,
        seat: SeatRef,
        address: Ipv4Addr,
        (uid, gid): (u32, u32),
    ) -> Result<Self, NetError> {
        let wrong = |detail| NetError::Input { for_whom: format!("seat {seat}"), detail };
        if seat.workshop != net.workshop {
            return Err(wrong(format!("it is not of the workshop {}", net.workshop)));
        }
        if !ipam::is_for_a_seat(address, net.subnet) {
            return Err(wrong(format!("{address} is not an address for a seat in {}", net.subnet)));
        }
        Ok(Self { tap: instance.tap(&seat), seat, address, uid, gid })
    }

    /// Whose it is.
    #[must_use]
    pub fn seat(&self) -> &SeatRef {
        &self.seat
    }

    /// The TAP device's name.
    #[must_use]
    pub fn tap(&self) -> &IfName {
        &self.tap
    }

    /// The address that the guest must use.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The hardware address that the guest must use.
    #[must_use]
    pub fn mac(&self) -> Mac {
        Mac::of(self.address)
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::Seat(self.seat.clone())
    }
}
