//! Makes the network of workshops and seats what it should be.
//!
//! Every step of making looks at what is there and does what is missing, so it may be repeated, by hand or after a crash at any
//! point. The order within a step leaves no moment in which a guest could do more than it may: what the packet filter must know of a
//! port it knows before the port is on the bridge, and it forgets it when the port is gone.
//!
//! ```text
//!   workshop   bridge (down) → alias → settings → filter → address → up
//!   seat       filter → TAP (goes away by itself) → alias, on the bridge → kept → limit → isolated, up → forwarding entry → neighbour
//! ```
//!
//! A crash leaves no interface without owner: a TAP device stays only once its alias is set, and a bridge that has our name and
//! hardware address and nothing else yet is known as half made.

mod bandwidth;
mod beside;
mod docker;
mod doctor;
mod port;
mod remove;
mod survey;
mod workshop;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};

use ipnet::Ipv4Net;
use tokio::sync::{Mutex, Notify};

use crate::bandwidth::Bandwidth;
use crate::egress::EgressPolicy;
use crate::error::NetError;
use crate::filter::batch::Nftables;
use crate::filter::element::Element;
use crate::filter::rules::Rules;
use crate::filter::{nft, ruleset};
use crate::ipam::Taken;
use crate::link::{Link, Links};
use crate::names::{IfName, InstanceId, Owner};
use crate::net::{Port, WorkshopNet};

pub use port::PortState;
pub use survey::{Found, Survey};

/// How the host's network is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose interfaces and tables are ours.
    pub instance: InstanceId,
    /// What seats may reach outside.
    pub egress: EgressPolicy,
    /// The name servers that seats are told of, as they are now; [`HostNet::follow_resolvers`] changes them.
    pub resolvers: BTreeSet<Ipv4Addr>,
    /// Where the subnets of workshops come from.
    pub pool: Ipv4Net,
    /// How much each seat may receive and send. A change holds for a seat from the next [`HostNet::ensure_port`] on.
    pub bandwidth: Bandwidth,
}

/// The host's network, as far as seats are concerned. One for a service; its clones are the same one.
#[derive(Clone, Debug)]
pub struct HostNet {
    options: Options,
    /// The name servers that seats are told of now.
    resolvers: Arc<std::sync::Mutex<BTreeSet<Ipv4Addr>>>,
    links: Links,
    nftables: Nftables,
    /// Held by who changes Docker's chain.
    docker: Arc<Mutex<()>>,
    bridge_made: Arc<Notify>,
    /// Held by who makes the network of a workshop: its first seats come side by side.
    making: Arc<Mutex<()>>,
    /// What was put in force last; nothing where that is not known. Held by who does it.
    applied: Arc<Mutex<Option<Applied>>>,
}

/// The rules as they were put in force.
#[derive(Debug)]
struct Applied {
    rules: Rules,
    /// The bridges to the world of then.
    uplinks: Vec<IfName>,
    /// The name servers of then.
    resolvers: BTreeSet<Ipv4Addr>,
}

impl HostNet {
    /// Connects to the kernel in the network namespace of the calling thread, which must be that of all threads of the runtime.
    /// Changes nothing. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where there is no netlink.
    pub fn open(options: Options) -> Result<Self, NetError> {
        let links = Links::open().map_err(|source| NetError::kernel("opening a netlink socket", source))?;
        let nftables = Nftables::open()
            .map_err(|source| NetError::kernel("opening a netlink socket to the packet filter", source))?;
        Ok(Self {
            resolvers: Arc::new(std::sync::Mutex::new(options.resolvers.clone())),
            options,
            links,
            nftables,
            docker: Arc::default(),
            bridge_made: Arc::default(),
            making: Arc::default(),
            applied: Arc::default(),
        })
    }

    /// Whose interfaces and tables are ours.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.options.instance
    }

    /// Where the subnets of workshops come from.
    #[must_use]
    pub fn pool(&self) -> Ipv4Net {
        self.options.pool
    }

    /// Puts the packet filter's rules in force, in one transaction that leaves the elements of all seats as they are. To be called before
    /// the first workshop, and now and then: other programs may flush all rules. Then the elements are gone too, and come back
    /// with [`HostNet::ensure_workshop`] and [`HostNet::ensure_port`].
    ///
    /// # Errors
    /// [`NetError::Nft`] with what `nft` says; [`NetError::Unsupported`] when the kernel has all but what a limit of
    /// [`Options::bandwidth`] needs.
    pub async fn ensure_table(&self) -> Result<(), NetError> {
        let mut applied = self.applied.lock().await;
        *applied = None;
        let uplinks = self.bridges_to_the_world().await?;
        let resolvers = self.resolvers();
        let text = self.rules(&resolvers, &uplinks, self.limits_sending());
        if let Err(why) = nft::run(nft::APPLY, &text).await {
            let without_limits = self.rules(&resolvers, &uplinks, false);
            if self.limits_sending() && nft::run(nft::CHECK, &without_limits).await.is_ok() {
                return Err(bandwidth::cannot_limit_sending("the packet filter's tables"));
            }
            return Err(NetError::Nft(why));
        }
        let rules = self.rules_in_force().await?;
        // Somebody may have taken some away already.
        *applied = rules.are_those_of(&text).then_some(Applied { rules, uplinks, resolvers });
        Ok(())
    }

    async fn rules_in_force(&self) -> Result<Rules, NetError> {
        let rules = self.nftables.rules(&self.instance().table()).await;
        rules.map_err(|source| NetError::kernel("reading the packet filter's rules", source))
    }

    /// Whether all rules are in force as [`HostNet::ensure_table`] put them there last, and the packet filter knows all that keeps each of these seats
    /// apart from others.
    ///
    /// # Errors
    /// [`NetError::Kernel`] when the kernel does not say.
    pub async fn guards<'a>(
        &self,
        seats: impl IntoIterator<Item = &'a (WorkshopNet, Port)>,
    ) -> Result<bool, NetError> {
        let applied = self.applied.lock().await;
        let rules = self.rules_in_force().await?;
        if applied.as_ref().is_none_or(|applied| applied.rules != rules) {
            return Ok(false);
        }
        let known = self.nftables.elements(&self.instance().table()).await;
        let known: BTreeSet<_> = known
            .map_err(|source| NetError::kernel("reading the packet filter's sets", source))?
            .into_iter()
            .collect();
        let knows = |(net, port): &(WorkshopNet, Port)| {
            let limit = self.limits_sending().then(|| Element::Limited(port.tap().clone()));
            let needed = Element::of_workshop(net).into_iter().chain(Element::of_port(net, port));
            needed.chain(limit).all(|element| known.contains(&element))
        };
        Ok(seats.into_iter().all(knows))
    }

    fn limits_sending(&self) -> bool {
        self.options.bandwidth.from_seat.is_some()
    }

    fn rules(&self, resolvers: &BTreeSet<Ipv4Addr>, uplinks: &[IfName], with_limits: bool) -> String {
        ruleset::text(self.instance(), &self.options.egress, resolvers, uplinks, with_limits)
    }

    fn resolvers(&self) -> BTreeSet<Ipv4Addr> {
        self.resolvers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All IPv4 ranges that this host has addresses in or routes for, but for the default route: what a new workshop must keep off.
    /// Those of our own bridges are named as the workshop's.
    ///
    /// # Errors
    /// [`NetError::Kernel`] when the kernel does not say.
    pub async fn taken(&self) -> Result<Vec<Taken>, NetError> {
        self.taken_but(None).await
    }

    async fn taken_but(&self, bridge: Option<u32>) -> Result<Vec<Taken>, NetError> {
        let failed = |source| NetError::kernel("reading the host's addresses and routes", source);
        let links = self.links.all().await.map_err(failed)?;
        let (routes, _) = self.links.routes().await.map_err(failed)?;
        let named = |index: Option<u32>| links.iter().find(|link| Some(link.index) == index);
        let mut taken = Vec::new();
        for route in routes.iter().filter(|route| bridge.is_none() || route.over != bridge) {
            let by = match named(route.over) {
                None => "a route of this host".to_owned(),
                Some(link) => {
                    self.user(link).unwrap_or_else(|| format!("a route of this host over {}", link.name))
                }
            };
            taken.push(Taken { range: route.range, by });
        }
        for (index, address) in self.links.addresses(None).await.map_err(failed)? {
            let Some(link) = named(Some(index)).filter(|_| Some(index) != bridge) else { continue };
            let by = self.user(link).unwrap_or_else(|| format!("an address of this host on {}", link.name));
            taken.push(Taken { range: address.trunc(), by });
        }
        taken.sort();
        taken.dedup();
        Ok(taken)
    }

    fn user(&self, link: &Link) -> Option<String> {
        self.owner(link).map(|owner| format!("workshop {}", owner.workshop()))
    }

    /// Whose an interface is; `None` when it is not of this instance.
    fn owner(&self, link: &Link) -> Option<Owner> {
        Owner::of_alias(&link.alias, self.instance())
    }

    /// Bridges that carry a default route.
    async fn bridges_to_the_world(&self) -> Result<Vec<IfName>, NetError> {
        let failed = |source| NetError::kernel("reading the host's routes", source);
        let (_, default) = self.links.routes().await.map_err(failed)?;
        let links = self.links.all().await.map_err(failed)?;
        let uplinks = links.into_iter().filter(|link| link.is_bridge && default.contains(&link.index));
        let mut uplinks: Vec<IfName> = uplinks.filter_map(|link| link.name.parse().ok()).collect();
        uplinks.sort();
        Ok(uplinks)
    }

    async fn find(&self, name: &IfName, whom: &str) -> Result<Option<Link>, NetError> {
        self.links
            .find(name)
            .await
            .map_err(|source| NetError::kernel(format!("{whom}: looking for the interface {name}"), source))
    }
}

/// Adds to an error what was tried.
fn doing<'a>(whom: &'a str, what: &'a str) -> impl Fn(io::Error) -> NetError + 'a {
    move |source| NetError::kernel(format!("{whom}: {what}"), source)
}
