//! The bridge of a workshop.

use super::{HostNet, doing};
use crate::error::NetError;
use crate::filter::element::Element;
use crate::ipam;
use crate::link::Link;
use crate::mac::Mac;
use crate::net::WorkshopNet;
use crate::sysctl;

impl HostNet {
    /// Makes the network of a workshop what it should be: the bridge, its address, its settings, its place in the packet filter;
    /// and lets the host pass packets on (`net.ipv4.ip_forward`, the only setting of the whole host that is changed).
    /// Whether a Docker engine beside us lets its seats out is for [`HostNet::keep_reaching`] to see to, which [`HostNet::bridge_made`] tells of.
    ///
    /// # Errors
    /// [`NetError::Foreign`] when an interface of that name is not ours, [`NetError::Collision`] when the subnet is not free: in both
    /// cases nothing was changed. [`NetError::Kernel`] when a step fails; the steps before it stay, for the next try or for
    /// [`HostNet::remove_workshop`].
    pub async fn ensure_workshop(&self, net: &WorkshopNet) -> Result<(), NetError> {
        let whom = format!("workshop {}", net.workshop());
        let name = net.bridge();
        let _one = self.making.lock().await;
        let there = self.find(name, &whom).await?;
        if let Some(link) = &there {
            self.check_bridge(net, link, &whom)?;
        }
        // One that is up has the subnet, and what it takes to see who else might grows with the number of seats.
        let is_up = there.as_ref().is_some_and(|link| link.is_up);
        if !is_up {
            self.keep_off(net, there.as_ref().map(|link| link.index), &whom).await?;
        }
        let is_new = there.is_none();
        let link = match there {
            Some(link) => link,
            None => self.add_bridge(net, &whom).await?,
        };
        let alias = net.owner().alias(self.instance());
        if link.alias != alias {
            let set = self.links.set_alias(link.index, &alias).await;
            set.map_err(doing(&whom, "marking the bridge as ours"))?;
        }
        sysctl::bridge(name)?;
        self.add_elements(&Element::of_workshop(net), &whom).await?;
        let (gateway, prefix) = (net.gateway(), net.subnet().prefix_len());
        let addresses = self.links.addresses(Some(link.index)).await;
        let mut has_it = false;
        for (_, address) in addresses.map_err(doing(&whom, "reading the bridge's addresses"))? {
            if (address.addr(), address.prefix_len()) == (gateway, prefix) {
                has_it = true;
            } else {
                let deleted = self.links.delete_address(link.index, address).await;
                deleted.map_err(doing(&whom, "taking another address from the bridge"))?;
            }
        }
        if is_up && !has_it {
            self.keep_off(net, Some(link.index), &whom).await?;
        }
        let added = self.links.add_address(link.index, gateway, prefix).await;
        added.map_err(doing(&whom, "giving the bridge its address"))?;
        if is_new && let Err(taken) = self.keep_off(net, Some(link.index), &whom).await {
            // Another service took it at the same moment, and may find the same.
            let mut errors = vec![taken];
            errors.extend(self.remove_workshop(net).await.err());
            return NetError::collected(errors);
        }
        if !is_up {
            self.links.up(link.index).await.map_err(doing(&whom, "starting the bridge"))?;
        }
        if is_new {
            self.bridge_made.notify_one();
        }
        sysctl::forward()
    }

    /// Refuses a subnet that the host reaches by something else than this interface.
    async fn keep_off(&self, net: &WorkshopNet, but: Option<u32>, whom: &str) -> Result<(), NetError> {
        let others = self.taken_but(but).await?;
        match ipam::collisions(net.subnet(), &others).into_iter().next() {
            None => Ok(()),
            Some(other) => {
                let with = format!("{} ({})", other.by, other.range);
                Err(NetError::Collision { for_whom: whom.to_owned(), subnet: net.subnet(), with })
            }
        }
    }

    async fn add_bridge(&self, net: &WorkshopNet, whom: &str) -> Result<Link, NetError> {
        let added = self.links.add_bridge(net.bridge(), Mac::of(net.gateway())).await;
        added.map_err(doing(whom, "making the bridge"))?;
        self.find(net.bridge(), whom).await?.ok_or_else(|| gone(whom))
    }

    /// Whether a bridge of our name is ours: by its alias, or because it is half made.
    fn check_bridge(&self, net: &WorkshopNet, link: &Link, whom: &str) -> Result<(), NetError> {
        let owner = self.owner(link);
        let half_made = link.alias.is_empty() && !link.is_up && link.mac == Some(Mac::of(net.gateway()));
        if link.is_bridge && (owner == Some(net.owner()) || half_made) {
            return Ok(());
        }
        Err(foreign(whom, link))
    }

    pub(super) async fn add_elements(&self, elements: &[Element], whom: &str) -> Result<(), NetError> {
        let added = self.nftables.add(&self.instance().table(), elements).await;
        added.map_err(doing(whom, "entering it into the packet filter's sets (are its tables there?)"))
    }
}

pub(super) fn foreign(whom: &str, link: &Link) -> NetError {
    let found = match link.alias.as_str() {
        "" => "it has no alias".to_owned(),
        alias => format!("its alias is {alias:?}"),
    };
    NetError::Foreign { for_whom: whom.to_owned(), interface: link.name.clone(), found }
}

/// Somebody deleted it just now.
pub(super) fn gone(whom: &str) -> NetError {
    let source = std::io::Error::new(std::io::ErrorKind::NotFound, "it was deleted while it was set up");
    NetError::kernel(format!("{whom}: making its interface"), source)
}
