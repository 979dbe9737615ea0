//! A network that the operator has configured for the Container Network Interface, by `hostnet`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use hostnet::PortState;
use hostnet::cni::{Cni, CniError, CniOptions};
use ipnet::Ipv4Net;
use seats::{SeatRef, WorkshopId};

use super::{Found, NetError, Network, Place, Port, WorkshopNet};
use crate::records::{Mac, Wiring};

/// An operator's network. Seats get their addresses from it, and workshops have nothing of their own in it.
#[derive(Debug)]
pub(crate) struct CniNet {
    options: CniOptions,
    cni: Cni,
}

impl CniNet {
    pub(crate) fn new(options: CniOptions) -> std::io::Result<Self> {
        Ok(Self { cni: Cni::new(options.clone())?, options })
    }

    /// A workshop that was made with bridges stays so.
    fn demand(&self, net: &WorkshopNet) -> Result<(), NetError> {
        let network = self.options.network.as_str();
        match &net.wiring {
            // Whatever the network is called now: each seat's part of it is undone as it was made.
            Wiring::Cni { .. } => Ok(()),
            Wiring::Bridge { bridge, .. } => Err(NetError::Refused(format!(
                "its workshop has the bridge {bridge}, and microvm.network is cni ({network}); destroy the workshop with microvm.network = \
                 \"bridge\" first"
            ))),
        }
    }
}

#[async_trait]
impl Network for CniNet {
    fn bridge(&self, workshop: &WorkshopId) -> String {
        self.options.instance.bridge(workshop).as_str().to_owned()
    }

    fn tap(&self, seat: &SeatRef) -> String {
        self.cni.tap(seat).as_str().to_owned()
    }

    fn operators(&self) -> Option<String> {
        Some(self.options.network.to_string())
    }

    async fn check(&self) -> Result<(), NetError> {
        self.cni.network().await.map(drop).map_err(|why| told(&why, None))
    }

    async fn free_subnet(&self, _: Ipv4Net, _: u8, _: &[Ipv4Net]) -> Result<Ipv4Net, NetError> {
        Err(NetError::Refused("a CNI network gives addresses to seats, not subnets to workshops".into()))
    }

    async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, NetError> {
        // The plugins know whom they gave one.
        Ok(BTreeSet::new())
    }

    async fn ensure_workshop(&self, net: &WorkshopNet) -> Result<(), NetError> {
        self.demand(net)
    }

    async fn ensure_port(&self, net: &WorkshopNet, port: &Port) -> Result<Place, NetError> {
        self.demand(net)?;
        let at = self.cni.attach(&port.seat, port.owner).await.map_err(|why| told(&why, Some(&port.seat)))?;
        Ok(Place {
            ip: at.address.addr(),
            prefix: at.address.prefix_len(),
            mac: Mac(at.mac.octets()),
            gateway: at.gateway,
            mtu: Some(at.mtu),
            nameservers: at.dns.nameservers,
            search: at.dns.search,
            namespace: Some(at.namespace),
        })
    }

    async fn port_state(&self, net: &WorkshopNet, port: &Port) -> Result<PortState, NetError> {
        self.demand(net)?;
        self.cni.state(&port.seat).await.map_err(|why| told(&why, Some(&port.seat)))
    }

    async fn remove_port(&self, seat: &SeatRef) -> Result<(), NetError> {
        self.cni.detach(seat).await.map_err(|why| told(&why, Some(seat)))
    }

    async fn remove_workshop(&self, _: &WorkshopId, _: Option<Ipv4Net>) -> Result<(), NetError> {
        Ok(())
    }

    async fn survey(&self) -> Result<Vec<Found>, NetError> {
        let seats = self.cni.survey().map_err(|why| told(&why, None))?;
        Ok(seats.into_iter().map(|seat| Found::Tap { name: self.tap(&seat), seat }).collect())
    }

    async fn guards(&self, _: &[(WorkshopNet, Port)]) -> Result<bool, NetError> {
        // What keeps seats apart there is the operator's own.
        Ok(true)
    }

    async fn refresh(&self) -> Result<(), NetError> {
        Ok(())
    }

    async fn keep_reaching(&self) -> Result<(), NetError> {
        // The way out is the operator's too.
        Ok(())
    }

    async fn news(&self) {
        std::future::pending::<()>().await;
    }
}

fn told(why: &CniError, seat: Option<&SeatRef>) -> NetError {
    let text = why.to_string();
    // Whoever passes it on says for which seat as well.
    let text = seat.and_then(|seat| text.strip_prefix(&format!("seat {seat}: "))).unwrap_or(&text).to_owned();
    if why.is_configuration() { NetError::Refused(text) } else { NetError::Failed(text) }
}
