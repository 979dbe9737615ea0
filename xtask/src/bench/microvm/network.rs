//! The network of a seat by itself: what the service has the kernel do for one, with nothing of the seat beside it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result};
use hostnet::{Bandwidth, EgressPolicy, HostNet, InstanceId, Options, Port, WorkshopNet};
use seats::{SeatBound, SeatRef};

use super::seat::ms;

/// For measurements (RFC 2544), so no pool of a service has it.
const SUBNET: &str = "198.18.0.0/24";
const SEATS: u16 = 50;

/// Milliseconds for each of some seats, one after the other, of a workshop that is there.
pub(super) async fn ports() -> Result<Vec<f64>> {
    let instance: InstanceId = format!("{:032x}", std::process::id()).parse()?;
    let subnet = SUBNET.parse().context("the subnet of the bench")?;
    let options = Options {
        instance: instance.clone(),
        egress: EgressPolicy::default(),
        resolvers: BTreeSet::new(),
        pool: subnet,
        bandwidth: Bandwidth::default(),
    };
    let host = HostNet::open(options)?;
    host.ensure_table().await?;
    let net = WorkshopNet::new(&instance, "network".parse()?, subnet)?;
    let measured = each(&host, &instance, &net).await;
    host.remove_all().await?;
    measured
}

async fn each(host: &HostNet, instance: &InstanceId, net: &WorkshopNet) -> Result<Vec<f64>> {
    host.ensure_workshop(net).await?;
    let mut took = Vec::new();
    for number in 1..=SEATS {
        let seat = SeatRef::new(net.workshop().clone(), SeatBound::widest().seat(number.into())?);
        let address = Ipv4Addr::from(net.gateway().to_bits() + u32::from(number));
        let port = Port::new(instance, net, seat, address, (1000, 1000))?;
        let began = Instant::now();
        // A service does both for each: another program may have taken something of the workshop's.
        host.ensure_workshop(net).await?;
        host.ensure_port(net, &port).await?;
        took.push(ms(began.elapsed()));
    }
    Ok(took)
}
