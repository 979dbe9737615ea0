//! Joins a VMM's TAP device to the interface that the plugins made.
//!
//! Each has an ingress qdisc whose one filter matches everything and sends it out of the other (tc-u32(8), tc-mirred(8)). So every frame of one is
//! one of the other, before the namespace's own kernel looks at it: the address that the plugins gave `eth0` is the guest's, which answers for it.

use std::io;
use std::path::Path;

use crate::link::{Link, Links};
use crate::mac::Mac;
use crate::names::IfName;
use crate::sysctl;
use crate::tap::Tap;

use super::netns;

/// The inside of a seat's namespace.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    path: &'a Path,
    links: Links,
}

/// What the guest's interface is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Likeness {
    pub(super) mac: Mac,
    pub(super) mtu: u32,
}

/// How the two are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// Both ways.
    Whole,
    /// Something is missing that can be mended under a VMM.
    Loose,
    /// An interface is missing, or no VMM holds the TAP device.
    Unplugged,
}

impl<'a> Inside<'a> {
    pub(super) async fn open(path: &'a Path) -> io::Result<Self> {
        let links = netns::inside(path, Links::open).await?;
        Ok(Self { path, links })
    }

    pub(super) async fn find(&self, name: &IfName) -> io::Result<Option<Link>> {
        self.links.find(name).await
    }

    pub(super) async fn state(&self, eth: &IfName, tap: &IfName) -> io::Result<Joined> {
        let (Some(eth), Some(tap)) = (self.find(eth).await?, self.find(tap).await?) else {
            return Ok(Joined::Unplugged);
        };
        if tap.is_up && !tap.has_carrier {
            return Ok(Joined::Unplugged);
        }
        let is_joined = self.is_joined(&eth, &tap).await?;
        Ok(if is_joined && eth.is_up && tap.is_up { Joined::Whole } else { Joined::Loose })
    }

    /// Whether a VMM holds the TAP device.
    pub(super) async fn is_held(&self, tap: &IfName) -> io::Result<bool> {
        Ok(self.find(tap).await?.is_some_and(|tap| tap.is_up && tap.has_carrier))
    }

    /// Makes the TAP device, where it is not there, and joins it to `eth`. A VMM that holds it goes on.
    pub(super) async fn join(&self, eth: &IfName, tap: &IfName, owner: (u32, u32)) -> io::Result<Likeness> {
        let missing = |name: &IfName| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no {name} in the seat's namespace"))
        };
        let outer = self.find(eth).await?.ok_or_else(|| missing(eth))?;
        let mac = outer
            .mac
            .ok_or_else(|| io::Error::other(format!("{eth} has no hardware address, as guests need")))?;
        let inner = match self.find(tap).await? {
            Some(link) if link.is_tap => link,
            Some(_) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{tap} is no TAP device")));
            }
            None => {
                self.add_tap(tap, owner).await?;
                self.find(tap).await?.ok_or_else(|| missing(tap))?
            }
        };
        if inner.mtu != outer.mtu {
            self.links.set_mtu(inner.index, outer.mtu).await?;
        }
        self.links.up(inner.index).await?;
        self.links.up(outer.index).await?;
        if !self.is_joined(&outer, &inner).await? {
            for (from, to) in [(outer.index, inner.index), (inner.index, outer.index)] {
                self.links.redirect_all(from, to).await?;
            }
        }
        Ok(Likeness { mac, mtu: outer.mtu })
    }

    async fn is_joined(&self, eth: &Link, tap: &Link) -> io::Result<bool> {
        let there = self.links.redirects(eth.index).await? == [tap.index];
        Ok(there && self.links.redirects(tap.index).await? == [eth.index])
    }

    async fn add_tap(&self, name: &IfName, (uid, gid): (u32, u32)) -> io::Result<()> {
        let name = name.clone();
        netns::inside(self.path, move || make_tap(&name, uid, gid)?.keep()).await
    }
}

fn make_tap(name: &IfName, uid: u32, gid: u32) -> io::Result<Tap> {
    let tap = Tap::create(name)?;
    tap.set_owner(uid, gid)?;
    sysctl::no_ipv6(name).map_err(io::Error::other)?;
    Ok(tap)
}

/// Whether this host can do all that, tried in a namespace that goes away with it.
pub(super) async fn trial() -> io::Result<()> {
    let parse = |name: &str| name.parse::<IfName>().map_err(io::Error::other);
    let names = [parse("trial0")?, parse("trial1")?];
    let made = netns::trial(move || {
        let taps = [make_tap(&names[0], 0, 0)?, make_tap(&names[1], 0, 0)?];
        let indexes = [Tap::index(&names[0])?, Tap::index(&names[1])?];
        Ok((Links::open()?, taps, indexes))
    });
    let (links, _taps, [one, two]) = made.await?;
    links.redirect_all(one, two).await?;
    links.redirect_all(two, one).await?;
    if links.redirects(one).await? == [two] {
        return Ok(());
    }
    Err(io::Error::other("a redirection is not there after it was made"))
}
