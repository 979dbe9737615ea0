//! The kernel's network, by `hostnet`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use hostnet::ipam::{self, IpamError, Taken};
use hostnet::{HostNet, InstanceId, Owner, PortState};
use ipnet::Ipv4Net;
use seats::{ObjectKind, SeatRef, WorkshopId};
use tokio::sync::OnceCell;

use super::{Found, NetError, Network, Place, Port, WorkshopNet};
use crate::nameservers::NameServers;
use crate::records::Wiring;

/// The kernel's network.
#[derive(Debug)]
pub(crate) struct KernelNet {
    instance: InstanceId,
    options: hostnet::Options,
    /// Whom seats are told to ask for names.
    resolvers: NameServers,
    /// Opened by the first who needs it, on its runtime.
    net: OnceCell<HostNet>,
}

impl KernelNet {
    pub(crate) fn new(options: hostnet::Options, resolvers: NameServers) -> Self {
        Self { instance: options.instance.clone(), options, resolvers, net: OnceCell::new() }
    }

    async fn net(&self) -> Result<&HostNet, NetError> {
        let open = || async {
            let resolvers = self.resolvers.within_reach();
            let net = HostNet::open(hostnet::Options { resolvers, ..self.options.clone() })?;
            net.ensure_table().await?;
            Ok(net)
        };
        self.net.get_or_try_init(open).await.map_err(|why| told(why, ObjectKind::Network))
    }

    fn workshop(&self, workshop: &WorkshopId, subnet: Ipv4Net) -> Result<hostnet::WorkshopNet, NetError> {
        hostnet::WorkshopNet::new(&self.instance, workshop.clone(), subnet)
            .map_err(|why| told(why, ObjectKind::Network))
    }

    fn port(
        &self,
        net: &hostnet::WorkshopNet,
        seat: &SeatRef,
        address: Ipv4Addr,
        owner: Option<u32>,
    ) -> Result<hostnet::Port, NetError> {
        // Root may open it anyway.
        let ids = owner.map_or((0, 0), |uid| (uid, uid));
        hostnet::Port::new(&self.instance, net, seat.clone(), address, ids)
            .map_err(|why| told(why, ObjectKind::Instance))
    }
}

#[async_trait]
impl Network for KernelNet {
    fn bridge(&self, workshop: &WorkshopId) -> String {
        self.instance.bridge(workshop).as_str().to_owned()
    }

    fn tap(&self, seat: &SeatRef) -> String {
        self.instance.tap(seat).as_str().to_owned()
    }

    fn operators(&self) -> Option<String> {
        None
    }

    async fn check(&self) -> Result<(), NetError> {
        // What bridges need is made, or told, with the first.
        Ok(())
    }

    async fn free_subnet(
        &self,
        pool: Ipv4Net,
        prefix: u8,
        recorded: &[Ipv4Net],
    ) -> Result<Ipv4Net, NetError> {
        let mut taken = self.net().await?.taken().await.map_err(|why| told(why, ObjectKind::Network))?;
        let by = "another workshop".to_owned();
        taken.extend(recorded.iter().map(|range| Taken { range: *range, by: by.clone() }));
        ipam::free_subnet(pool, prefix, &taken).map_err(|why| match why {
            IpamError::PoolFull { .. } => NetError::Exhausted(why.to_string()),
            IpamError::Prefix { .. } | IpamError::SubnetFull { .. } => NetError::Failed(why.to_string()),
        })
    }

    async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, NetError> {
        self.net().await?.addresses().await.map_err(|why| told(why, ObjectKind::Instance))
    }

    async fn ensure_workshop(&self, net: &WorkshopNet) -> Result<(), NetError> {
        let workshop = self.workshop(&net.workshop, net.subnet()?)?;
        let ensured = self.net().await?.ensure_workshop(&workshop).await;
        ensured.map_err(|why| told(why, ObjectKind::Network))
    }

    async fn ensure_port(&self, net: &WorkshopNet, port: &Port) -> Result<Place, NetError> {
        let workshop = self.workshop(&net.workshop, net.subnet()?)?;
        let plug = self.port(&workshop, &port.seat, port.address, port.owner)?;
        let ensured = self.net().await?.ensure_port(&workshop, &plug).await;
        ensured.map_err(|why| told(why, ObjectKind::Instance))?;
        Ok(net.place(port))
    }

    async fn port_state(&self, net: &WorkshopNet, port: &Port) -> Result<PortState, NetError> {
        let workshop = self.workshop(&net.workshop, net.subnet()?)?;
        let port = self.port(&workshop, &port.seat, port.address, port.owner)?;
        let state = self.net().await?.port_state(&workshop, &port).await;
        state.map_err(|why| told(why, ObjectKind::Instance))
    }

    async fn remove_port(&self, seat: &SeatRef) -> Result<(), NetError> {
        gone(self.net().await?.remove_port(seat).await, ObjectKind::Instance)
    }

    async fn remove_workshop(&self, workshop: &WorkshopId, subnet: Option<Ipv4Net>) -> Result<(), NetError> {
        // One that belongs to nobody, where the record does not tell: what is known of the subnet by address alone stays then.
        let nobodys = Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24);
        let whole = self.workshop(workshop, subnet.unwrap_or(nobodys))?;
        gone(self.net().await?.remove_workshop(&whole).await, ObjectKind::Network)
    }

    async fn survey(&self) -> Result<Vec<Found>, NetError> {
        let survey = self.net().await?.survey().await.map_err(|why| told(why, ObjectKind::Network))?;
        let found = survey.interfaces.into_iter().map(|found| {
            let name = found.interface.as_str().to_owned();
            match found.owner {
                Owner::Workshop(workshop) => Found::Bridge { name, workshop },
                Owner::Seat(seat) => Found::Tap { name, seat },
            }
        });
        Ok(found.collect())
    }

    async fn guards(&self, seats: &[(WorkshopNet, Port)]) -> Result<bool, NetError> {
        let mut ports = Vec::new();
        for (net, port) in seats {
            let workshop = self.workshop(&net.workshop, net.subnet()?)?;
            let port = self.port(&workshop, &port.seat, port.address, port.owner)?;
            ports.push((workshop, port));
        }
        self.net().await?.guards(&ports).await.map_err(|why| told(why, ObjectKind::Network))
    }

    async fn refresh(&self) -> Result<(), NetError> {
        self.net().await?.ensure_table().await.map_err(|why| told(why, ObjectKind::Network))
    }

    async fn keep_reaching(&self) -> Result<(), NetError> {
        let net = self.net().await?;
        // The host's own may be others by now, and those of before are to be out of reach again.
        let followed = net.follow_resolvers(self.resolvers.within_reach()).await;
        let reaching = net.keep_reaching().await;
        followed.and(reaching).map_err(|why| told(why, ObjectKind::Network))
    }

    async fn news(&self) {
        match self.net().await {
            Ok(net) => net.bridge_made().await,
            // Nothing is made without it, and whoever needs it says why it cannot be.
            Err(_) => std::future::pending().await,
        }
    }
}

impl WorkshopNet {
    /// The addresses of a workshop that has a bridge.
    fn subnet(&self) -> Result<Ipv4Net, NetError> {
        match &self.wiring {
            Wiring::Bridge { subnet, .. } => Ok(*subnet),
            Wiring::Cni { cni_network } => Err(NetError::Refused(format!(
                "its workshop is on the CNI network {cni_network}, and microvm.network is bridge; destroy the workshop with \
                 microvm.network = \"cni\" first"
            ))),
        }
    }

    /// Where a port is that has the address which was chosen for it.
    pub(crate) fn place(&self, port: &Port) -> Place {
        let (prefix, gateway) = match &self.wiring {
            Wiring::Bridge { subnet, .. } => (subnet.prefix_len(), self.wiring.gateway()),
            Wiring::Cni { .. } => (32, None),
        };
        Place {
            ip: port.address,
            prefix,
            mac: port.mac,
            gateway,
            mtu: None,
            nameservers: Vec::new(),
            search: Vec::new(),
            namespace: None,
        }
    }
}

/// What a removal came to. What is somebody else's is not there for us.
fn gone(removed: Result<(), hostnet::NetError>, kind: ObjectKind) -> Result<(), NetError> {
    let is_ours = |why: &hostnet::NetError| !matches!(why, hostnet::NetError::Foreign { .. });
    let ours = match removed {
        Err(hostnet::NetError::Several(all)) => {
            let ours: Vec<_> = all.into_iter().filter(is_ours).collect();
            (!ours.is_empty()).then_some(hostnet::NetError::Several(ours))
        }
        removed => removed.err().filter(is_ours),
    };
    ours.map_or(Ok(()), |why| Err(told(why, kind)))
}

fn told(why: hostnet::NetError, kind: ObjectKind) -> NetError {
    match why {
        hostnet::NetError::Foreign { interface, .. } => {
            let kind = if interface.starts_with("ctb") { ObjectKind::Network } else { kind };
            NetError::Foreign { kind, name: interface }
        }
        why @ (hostnet::NetError::Collision { .. } | hostnet::NetError::Unsupported { .. }) => {
            NetError::Refused(why.to_string())
        }
        why => NetError::Failed(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_things_in_the_way_of_a_removal_those_of_others_are_none() {
        let foreign = || hostnet::NetError::Foreign {
            for_whom: "seat rust-101/1".into(),
            interface: "ctt00".into(),
            found: "it has no alias".into(),
        };
        let failed = |what: &str| hostnet::NetError::Kernel {
            doing: what.into(),
            source: std::io::Error::other("on purpose"),
        };
        let several = |all| gone(Err(hostnet::NetError::Several(all)), ObjectKind::Instance);
        assert_eq!(gone(Err(foreign()), ObjectKind::Instance), Ok(()));
        assert_eq!(several(vec![foreign(), foreign()]), Ok(()));
        let said = |text: &str| Err(NetError::Failed(text.to_owned()));
        assert_eq!(several(vec![foreign(), failed("one")]), said("one: on purpose"));
        assert_eq!(
            several(vec![failed("one"), foreign(), failed("two")]),
            said("one: on purpose; two: on purpose")
        );
        assert_eq!(gone(Err(failed("one")), ObjectKind::Instance), said("one: on purpose"));
        assert_eq!(gone(Ok(()), ObjectKind::Instance), Ok(()));
    }
}
