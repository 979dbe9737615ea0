//! The TAP device of a seat.

use std::io;

use super::workshop::foreign;
use super::{HostNet, doing};
use crate::error::NetError;
use crate::filter::element::Element;
use crate::net::{Port, WorkshopNet};
use crate::sysctl;
use crate::tap::Tap;

/// How the port of a seat is, as far as its frames depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// A VMM holds the TAP device, which is up and on its bridge.
    Whole,
    /// The TAP device is down or not on its bridge: [`HostNet::ensure_workshop`] and [`HostNet::ensure_port`] mend that under a VMM
    /// that runs.
    Loose,
    /// There is no TAP device of the seat's, or none that a VMM holds. A VMM that held one which was deleted holds nothing any more
    /// and must be started again.
    Unplugged,
}

impl HostNet {
    /// How the port of a seat is now. Nothing is changed.
    ///
    /// Whether somebody holds a TAP device is its carrier (`tun_attach` and `__tun_detach` in `drivers/net/tun.c` of the kernel), which is
    /// told of devices that are up.
    ///
    /// # Errors
    /// [`NetError::Kernel`] when the kernel does not say.
    pub async fn port_state(&self, net: &WorkshopNet, port: &Port) -> Result<PortState, NetError> {
        let whom = format!("seat {}", port.seat());
        let link = self.find(port.tap(), &whom).await?;
        let Some(link) = link.filter(|link| link.is_tap && self.owner(link) == Some(port.owner())) else {
            return Ok(PortState::Unplugged);
        };
        if link.is_up && !link.has_carrier {
            return Ok(PortState::Unplugged);
        }
        let bridge = self.find(net.bridge(), &whom).await?;
        let is_on = bridge.is_some_and(|bridge| bridge.is_up && link.controller == Some(bridge.index));
        Ok(if link.is_up && is_on { PortState::Whole } else { PortState::Loose })
    }

    /// Makes the port of a seat what it should be, on the bridge that [`HostNet::ensure_workshop`] made. A TAP device that is there
    /// and ours stays, with the VMM on it. One that was deleted is made anew; a VMM that held the old one must be started again.
    ///
    /// # Errors
    /// [`NetError::Foreign`] when an interface of that name is not ours, or the bridge is not: nothing was changed.
    /// [`NetError::Unsupported`] when the kernel cannot limit what [`Options::bandwidth`](super::Options::bandwidth) says.
    /// [`NetError::Kernel`] when a step fails; what is there stays, for the next try or for [`HostNet::remove_port`].
    pub async fn ensure_port(&self, net: &WorkshopNet, port: &Port) -> Result<(), NetError> {
        let whom = format!("seat {}", port.seat());
        let bridge = self.find(net.bridge(), &whom).await?.ok_or_else(|| NetError::Input {
            for_whom: whom.clone(),
            detail: format!("the bridge {} of its workshop is not there", net.bridge()),
        })?;
        if self.owner(&bridge) != Some(net.owner()) {
            return Err(foreign(&whom, &bridge));
        }
        let there = match self.find(port.tap(), &whom).await? {
            Some(link) if link.is_tap && self.owner(&link) == Some(port.owner()) => Some(link),
            Some(link) => return Err(foreign(&whom, &link)),
            None => None,
        };
        self.add_elements(&Element::of_port(net, port), &whom).await?;
        self.limit_sending(port.tap(), self.options.bandwidth.from_seat, &whom).await?;
        let qdisc = there.as_ref().map(|link| link.qdisc.clone()).unwrap_or_default();
        let index = match there {
            None => self.add_tap(port, bridge.index, &whom).await?,
            Some(link) => {
                if link.controller != Some(bridge.index) {
                    let on = self.links.enslave(link.index, bridge.index).await;
                    on.map_err(doing(&whom, "putting the TAP device on the bridge"))?;
                }
                link.index
            }
        };
        self.limit_receiving(index, &qdisc, &whom).await?;
        let restricted = self.links.restrict_port_and_up(index).await;
        restricted.map_err(doing(&whom, "isolating the port and starting it"))?;
        let entry = self.links.add_forwarding_entry(index, port.mac()).await;
        entry.map_err(doing(&whom, "telling the bridge of the seat"))?;
        let neighbour = self.links.add_neighbour(bridge.index, port.address(), port.mac()).await;
        neighbour.map_err(doing(&whom, "telling the host of the seat"))
    }

    /// Makes the device and puts it on the bridge, down. It goes away by itself when anything here fails or the process ends: only
    /// with an owner it stays. Its index.
    async fn add_tap(&self, port: &Port, bridge: u32, whom: &str) -> Result<u32, NetError> {
        let (name, uid, gid) = (port.tap().clone(), port.uid, port.gid);
        let made = blocking(move || {
            let tap = Tap::create(&name)?;
            tap.set_owner(uid, gid)?;
            let index = Tap::index(&name)?;
            Ok((tap, index))
        });
        let (tap, index) = made.await.map_err(doing(whom, "making the TAP device"))?;
        sysctl::no_ipv6(port.tap())?;
        let marked = self.links.mark_and_enslave(index, &port.owner().alias(self.instance()), bridge).await;
        marked.map_err(doing(whom, "marking the TAP device as ours and putting it on the bridge"))?;
        let kept = blocking(move || tap.keep()).await;
        kept.map_err(doing(whom, "keeping the TAP device"))?;
        Ok(index)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
