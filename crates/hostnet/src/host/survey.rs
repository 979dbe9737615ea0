//! What is there of this instance, for adoption and for the search for what was left over.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{HostNet, doing};
use crate::error::NetError;
use crate::filter::element::Element;
use crate::names::{IfName, Owner};

/// An interface with our mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whom its alias names.
    pub owner: Owner,
    /// Its name.
    pub interface: IfName,
    /// The bridge that it is on.
    pub bridge: Option<IfName>,
}

/// All that the kernel holds of this instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Bridges and TAP devices.
    pub interfaces: Vec<Found>,
    /// Elements of the packet filter's sets.
    pub elements: Vec<Element>,
}

impl Survey {
    /// Whether nothing of a workshop or a seat is there; the tables with the rules are no matter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && self.elements.is_empty()
    }
}

impl HostNet {
    /// Looks for everything of this instance. Other instances' and other programs' is not in it.
    ///
    /// # Errors
    /// [`NetError::Kernel`] when the kernel does not say.
    pub async fn survey(&self) -> Result<Survey, NetError> {
        let whom = "everything of this service";
        let links = self.links.all().await.map_err(doing(whom, "listing interfaces"))?;
        let name = |index| links.iter().find(|link| link.index == index)?.name.parse().ok();
        let found = links.iter().filter_map(|link| {
            let owner = self.owner(link)?;
            Some(Found { owner, interface: link.name.parse().ok()?, bridge: link.controller.and_then(name) })
        });
        let mut interfaces: Vec<_> = found.collect();
        interfaces.sort_by(|one, two| one.owner.cmp(&two.owner));
        let elements = self.nftables.elements(&self.instance().table()).await;
        let mut elements = elements.map_err(doing(whom, "listing the packet filter's sets"))?;
        elements.sort();
        Ok(Survey { interfaces, elements })
    }

    /// The addresses that the packet filter knows as seats', whatever else is known of those. Until their ports are removed no other seat can
    /// have them.
    ///
    /// # Errors
    /// [`NetError::Kernel`] when the kernel does not say.
    pub async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, NetError> {
        let known = self.nftables.addresses(&self.instance().table()).await;
        let known = known.map_err(doing("everything of this service", "listing the packet filter's sets"))?;
        let addresses = known.into_iter().filter_map(|element| match element {
            Element::Guest(_, _, address) | Element::Seat(_, address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }
}
