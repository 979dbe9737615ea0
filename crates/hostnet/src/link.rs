//! Interfaces, addresses, neighbours and routes over rtnetlink.

pub(crate) mod qdisc;
mod traffic;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{BridgeStpState, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType};
use netlink_packet_route::{AddressFamily, route::RouteMessage};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, RouteMessageBuilder};
use tokio::sync::Semaphore;

use crate::mac::Mac;
use crate::names::IfName;

/// What is known of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: String,
    pub(crate) mac: Option<Mac>,
    pub(crate) controller: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) is_bridge: bool,
    pub(crate) is_tap: bool,
    pub(crate) is_up: bool,
    /// Whether something is at the other end: of a TAP device that is up, whether a program holds it open.
    pub(crate) has_carrier: bool,
    /// What orders the frames that it sends, by its kind.
    pub(crate) qdisc: String,
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            alias: String::new(),
            mac: None,
            controller: None,
            mtu: 0,
            is_bridge: false,
            is_tap: false,
            is_up: message.header.flags.contains(LinkFlags::Up),
            has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
            qdisc: String::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Qdisc(kind) => link.qdisc.clone_from(kind),
                LinkAttribute::Controller(0) => {}
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::Address(bytes) => {
                    link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac::from);
                }
                LinkAttribute::LinkInfo(infos) => {
                    link.is_bridge |= infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                    link.is_tap |= infos.contains(&LinkInfo::Kind(InfoKind::Tun));
                }
                _ => {}
            }
        }
        link
    }
}

/// A route of the host for a range, without the default one.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) range: Ipv4Net,
    pub(crate) over: Option<u32>,
}

/// A connection to rtnetlink, in the network namespace in which it was opened.
///
/// One request at a time: answers to many would not fit the socket's buffer, and what the kernel cannot put there is lost without
/// a word to who waits for it; a second list while one is read it refuses. It works on one at a time anyway (`rtnl_lock`).
/// A request that is under way is finished, whether or not somebody still wants to know.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    handle: Handle,
    turn: Arc<Semaphore>,
}

/// The kernel answers at once, unless its lock is held for long.
const LIMIT: Duration = Duration::from_secs(60);

type Answer<T> = Result<T, io::Error>;

impl Links {
    /// Must be called within a tokio runtime.
    pub(crate) fn open() -> Answer<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        // It ends when the last handle is gone.
        tokio::spawn(connection);
        Ok(Self { handle, turn: Arc::new(Semaphore::new(1)) })
    }

    /// What is handed in must not have been sent yet: the crate sends a list's request when its stream is made.
    async fn request<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, rtnetlink::Error>> + Send + 'static,
    ) -> Answer<T> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(io::Error::other)?;
        let carried_out = tokio::spawn(async move {
            let answer = tokio::time::timeout(LIMIT, request).await;
            drop(turn);
            answer
        });
        match carried_out.await.map_err(io::Error::other)? {
            Ok(answer) => answer.map_err(plain),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not answer")),
        }
    }

    pub(crate) async fn find(&self, name: &IfName) -> Answer<Option<Link>> {
        let get = self.handle.link().get().match_name(name.as_str());
        match self.request(async move { get.execute().try_next().await }).await {
            Ok(message) => Ok(message.as_ref().map(Link::of)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn all(&self) -> Answer<Vec<Link>> {
        let get = self.handle.link().get();
        let list = async move { get.execute().map_ok(|message| Link::of(&message)).try_collect().await };
        self.request(list).await
    }

    /// Makes a bridge that is down and passes frames on at once when it is up.
    pub(crate) async fn add_bridge(&self, name: &IfName, mac: Mac) -> Answer<()> {
        let bridge = LinkBridge::new(name.as_str())
            .down()
            .address(mac.octets().to_vec())
            .forward_delay(0)
            .stp_state(BridgeStpState::Disabled)
            .mcast_snooping(false)
            .build();
        self.request(self.handle.link().add(bridge).execute()).await
    }

    pub(crate) async fn set_alias(&self, index: u32, alias: &str) -> Answer<()> {
        self.change(LinkUnspec::new_with_index(index).alias(alias).build()).await
    }

    pub(crate) async fn up(&self, index: u32) -> Answer<()> {
        self.change(LinkUnspec::new_with_index(index).up().build()).await
    }

    pub(crate) async fn set_mtu(&self, index: u32, mtu: u32) -> Answer<()> {
        self.change(LinkUnspec::new_with_index(index).mtu(mtu).build()).await
    }

    pub(crate) async fn enslave(&self, index: u32, bridge: u32) -> Answer<()> {
        self.change(LinkUnspec::new_with_index(index).controller(bridge).build()).await
    }

    pub(crate) async fn mark_and_enslave(&self, index: u32, alias: &str, bridge: u32) -> Answer<()> {
        self.change(LinkUnspec::new_with_index(index).alias(alias).controller(bridge).build()).await
    }

    /// Makes a port of a bridge reach nothing but the bridge itself, and get nothing but what is sent to its guest.
    ///
    /// `Documentation/networking/bridge.rst` and `ip-link(8)`: isolated ports do not talk to each other; nothing is learnt from
    /// frames; frames for unknown, multicast and broadcast addresses are not copied to it.
    ///
    /// Starts it too: the kernel does that last (`rtnl_changelink` of `net/core/rtnetlink.c`).
    pub(crate) async fn restrict_port_and_up(&self, index: u32) -> Answer<()> {
        let port = LinkBridgePort::new(index)
            .isolated(true)
            .learning(false)
            .flood(false)
            .mcast_flood(false)
            .bcast_flood(false)
            .hairpin(false)
            .up()
            .build();
        self.change(port).await
    }

    pub(crate) async fn delete(&self, index: u32) -> Answer<()> {
        absent_is_fine(self.request(self.handle.link().del(index).execute()).await)
    }

    async fn change(&self, message: LinkMessage) -> Answer<()> {
        self.request(self.handle.link().change(message).execute()).await
    }

    /// The bridge finds this address behind this port, without having seen a frame from there.
    pub(crate) async fn add_forwarding_entry(&self, port: u32, mac: Mac) -> Answer<()> {
        let entry = self
            .handle
            .neighbours()
            .add_bridge(port, &mac.octets())
            // Static: it does not age. `Permanent` would mean an address of the host itself.
            .state(NeighbourState::Noarp)
            .flags(NeighbourFlags::Controller)
            .replace();
        self.request(entry.execute()).await
    }

    /// The host sends to this address without asking for its hardware address.
    pub(crate) async fn add_neighbour(&self, bridge: u32, address: Ipv4Addr, mac: Mac) -> Answer<()> {
        let neighbour = self
            .handle
            .neighbours()
            .add(bridge, IpAddr::V4(address))
            .link_layer_address(&mac.octets())
            .state(NeighbourState::Permanent)
            .replace();
        self.request(neighbour.execute()).await
    }

    pub(crate) async fn delete_neighbour(&self, bridge: u32, address: Ipv4Addr) -> Answer<()> {
        let mut message = netlink_packet_route::neighbour::NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = bridge;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(address))];
        absent_is_fine(self.request(self.handle.neighbours().del(message).execute()).await)
    }

    /// IPv4 addresses of all interfaces, or of one.
    pub(crate) async fn addresses(&self, of: Option<u32>) -> Answer<Vec<(u32, Ipv4Net)>> {
        let mut get = self.handle.address().get();
        if let Some(index) = of {
            get = get.set_link_index_filter(index);
        }
        let messages: Vec<_> = self.request(async move { get.execute().try_collect().await }).await?;
        let own = messages.into_iter().filter_map(|message| {
            // The local one: the other is the far end of a point-to-point link.
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })?;
            Some((message.header.index, Ipv4Net::new(local, message.header.prefix_len).ok()?))
        });
        Ok(own.filter(|(index, _)| of.is_none_or(|of| of == *index)).collect())
    }

    pub(crate) async fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> Answer<()> {
        let add = self.handle.address().add(index, IpAddr::V4(address), prefix).replace();
        self.request(add.execute()).await
    }

    pub(crate) async fn delete_address(&self, index: u32, address: Ipv4Net) -> Answer<()> {
        let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.addr(), address.prefix_len())
            .build();
        absent_is_fine(self.request(self.handle.address().del(message).execute()).await)
    }

    /// The IPv4 routes of all tables but the kernel's own of local addresses, and the interfaces of the default ones.
    pub(crate) async fn routes(&self) -> Answer<(Vec<Route>, Vec<u32>)> {
        let get = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let get = self.handle.route().get(get);
        let messages: Vec<_> = self.request(async move { get.execute().try_collect().await }).await?;
        let (mut routes, mut default) = (Vec::new(), Vec::new());
        for message in messages {
            let kind = message.header.kind;
            if matches!(kind, RouteType::Local | RouteType::Broadcast | RouteType::Multicast) {
                continue;
            }
            let over = over(&message);
            // A VPN may put two halves of everything in the place of the default route.
            if message.header.destination_prefix_length <= 1 {
                default.extend(over);
                continue;
            }
            let destination = message.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
            let Some(destination) = destination else { continue };
            if let Ok(range) = Ipv4Net::new(destination, message.header.destination_prefix_length) {
                routes.push(Route { range: range.trunc(), over });
            }
        }
        Ok((routes, default))
    }
}

fn over(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}

/// What the kernel said, as the error of a system call.
fn plain(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

/// `ENOENT`, `ENODEV`, `EADDRNOTAVAIL`: there is none. `linux/errno.h`, the same on every architecture but MIPS and SPARC.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(2 | 19 | 99))
}

fn absent_is_fine(result: Answer<()>) -> Answer<()> {
    match result {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}
