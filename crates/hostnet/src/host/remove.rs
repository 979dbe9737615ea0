//! Takes things away again. What is not there is gone already; what fails is told at the end, and the rest is done.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use seats::SeatRef;

use super::workshop::foreign;
use super::{HostNet, doing};
use crate::error::NetError;
use crate::filter::element::Element;
use crate::link::Link;
use crate::mac::Mac;
use crate::names::{IfName, Owner};
use crate::net::WorkshopNet;

impl HostNet {
    /// Takes away the port of a seat, whether a VMM is on it or not: the TAP device first, then what was known of it.
    ///
    /// Which address was its own the packet filter says, and nobody else: what a caller remembers may be another seat's by now. An address that
    /// another TAP device may use stays, with the host's way to it.
    ///
    /// # Errors
    /// What failed; the rest is done, and it may be repeated. [`NetError::Foreign`] when an interface of that name is not ours.
    pub async fn remove_port(&self, seat: &SeatRef) -> Result<(), NetError> {
        let whom = format!("seat {seat}");
        let (tap, bridge) = (self.instance().tap(seat), self.instance().bridge(&seat.workshop));
        let mut errors = Vec::new();
        match self.find(&tap, &whom).await {
            Ok(None) => {}
            Ok(Some(link)) if self.owner(&link) == Some(Owner::Seat(seat.clone())) => {
                keep(&mut errors, self.delete(&link, &whom).await);
            }
            Ok(Some(link)) => errors.push(foreign(&whom, &link)),
            Err(error) => errors.push(error),
        }
        let guests = self.nftables.guests(&self.instance().table()).await;
        let guests = guests.map_err(doing(&whom, "listing the packet filter's sets"));
        let guests = guests.unwrap_or_else(|error| none(&mut errors, error));
        let addresses = only_of(&tap, &guests);
        match self.find(&bridge, &whom).await {
            Ok(Some(link)) if self.owner(&link) == Some(Owner::Workshop(seat.workshop.clone())) => {
                for address in &addresses {
                    let forgotten = self.links.delete_neighbour(link.index, *address).await;
                    keep(
                        &mut errors,
                        forgotten.map_err(doing(&whom, "forgetting the seat's hardware address")),
                    );
                }
            }
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        let mut elements = vec![Element::Tap(tap.clone())];
        elements
            .extend(guests.into_iter().filter(|guest| matches!(guest, Element::Guest(of, ..) if *of == tap)));
        for address in addresses {
            elements.extend([Element::Seat(bridge.clone(), address), Element::Address(address)]);
        }
        keep(&mut errors, self.delete_elements(&elements, &whom).await);
        keep(&mut errors, self.limit_sending(&tap, None, &whom).await);
        NetError::collected(errors)
    }

    /// Takes away the network of a workshop with all ports that are still on it.
    ///
    /// # Errors
    /// What failed; the rest is done, and it may be repeated. [`NetError::Foreign`] when an interface of that name is not ours.
    pub async fn remove_workshop(&self, net: &WorkshopNet) -> Result<(), NetError> {
        let whom = format!("workshop {}", net.workshop());
        let mut errors = Vec::new();
        let (links, elements) = self.everything(&whom, &mut errors).await;
        // Ports first: a bridge that goes lets its ports go, and they would be on none.
        let ours = |link: &&Link| self.owner(link).is_some_and(|owner| owner.workshop() == net.workshop());
        let (bridges, taps): (Vec<_>, Vec<_>) = links.iter().filter(ours).partition(|link| link.is_bridge);
        for link in taps.iter().chain(&bridges) {
            keep(&mut errors, self.delete(link, &whom).await);
        }
        for link in
            links.iter().filter(|link| link.name == net.bridge().as_str() && self.owner(link).is_none())
        {
            if link.is_bridge
                && link.alias.is_empty()
                && !link.is_up
                && link.mac == Some(Mac::of(net.gateway()))
            {
                keep(&mut errors, self.delete(link, &whom).await);
            } else {
                errors.push(foreign(&whom, link));
            }
        }
        keep(&mut errors, self.docker_forgets(net, &whom).await);
        // Devices that somebody deleted are known by what might come from them.
        let names: BTreeSet<_> = taps.iter().map(|link| link.name.as_str().to_owned()).collect();
        let gone = elements.iter().filter_map(|element| match element {
            Element::Guest(name, _, address) if net.subnet().contains(address) => {
                Some(name.as_str().to_owned())
            }
            _ => None,
        });
        let names: BTreeSet<_> = gone.chain(names).collect();
        let known = elements.into_iter().filter(|element| match element {
            Element::Tap(name) | Element::Guest(name, ..) | Element::Limited(name) => {
                names.contains(name.as_str())
            }
            Element::Bridge(name) | Element::Seat(name, _) => name == net.bridge(),
            Element::Address(address) => net.subnet().contains(address),
        });
        let known: Vec<_> = known.collect();
        keep(&mut errors, self.delete_elements(&known, &whom).await);
        NetError::collected(errors)
    }

    /// Takes away everything of this instance: all interfaces with its alias, and its tables.
    ///
    /// # Errors
    /// What failed; the rest is done, and it may be repeated.
    pub async fn remove_all(&self) -> Result<(), NetError> {
        let whom = "everything of this service";
        let mut errors = Vec::new();
        let (links, _) = self.everything(whom, &mut errors).await;
        let mut ours: Vec<_> =
            links.iter().filter_map(|link| self.owner(link).map(|owner| (owner, link))).collect();
        // Seats before workshops.
        ours.sort_by_key(|(owner, _)| matches!(owner, Owner::Workshop(_)));
        for (_, link) in ours {
            keep(&mut errors, self.delete(link, whom).await);
        }
        keep(&mut errors, self.docker_forgets_all(whom).await);
        let deleted = self.nftables.delete_tables(&self.instance().table()).await;
        keep(&mut errors, deleted.map_err(doing(whom, "deleting the packet filter's tables")));
        NetError::collected(errors)
    }

    async fn everything(&self, whom: &str, errors: &mut Vec<NetError>) -> (Vec<Link>, Vec<Element>) {
        let links = self.links.all().await.map_err(doing(whom, "listing interfaces"));
        let elements = self.nftables.elements(&self.instance().table()).await;
        let elements = elements.map_err(doing(whom, "listing the packet filter's sets"));
        (
            links.unwrap_or_else(|error| none(errors, error)),
            elements.unwrap_or_else(|error| none(errors, error)),
        )
    }

    async fn delete(&self, link: &Link, whom: &str) -> Result<(), NetError> {
        let what = format!("deleting the interface {}", link.name);
        self.links.delete(link.index).await.map_err(doing(whom, &what))
    }

    async fn delete_elements(&self, elements: &[Element], whom: &str) -> Result<(), NetError> {
        let deleted = self.nftables.delete(&self.instance().table(), elements).await;
        deleted.map_err(doing(whom, "taking it out of the packet filter's sets"))
    }
}

/// The addresses that a TAP device may use and no other may.
fn only_of(tap: &IfName, guests: &[Element]) -> BTreeSet<Ipv4Addr> {
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    for guest in guests {
        if let Element::Guest(name, _, address) = guest {
            if name == tap { &mut own } else { &mut others }.insert(*address);
        }
    }
    own.difference(&others).copied().collect()
}

fn keep(errors: &mut Vec<NetError>, result: Result<(), NetError>) {
    errors.extend(result.err());
}

fn none<T>(errors: &mut Vec<NetError>, error: NetError) -> Vec<T> {
    errors.push(error);
    Vec::new()
}
