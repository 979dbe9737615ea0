//! Runs the plugins of a network for seats.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::Ipv4Net;
use seats::SeatRef;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::cache::{self, Cache, Entry};
use super::error::CniError;
use super::list::{NetworkList, NetworkName};
use super::netns;
use super::result::Dns;
use super::splice::{Inside, Joined};
use super::steps::{INTERFACE, versions};
use super::version::SpecVersion;
use crate::host::PortState;
use crate::mac::Mac;
use crate::names::{IfName, InstanceId};

/// How an operator's network is used.
#[derive(Clone, Debug)]
pub struct CniOptions {
    /// Whose seats are ours.
    pub instance: InstanceId,
    /// The network, by the `name` in its list.
    pub network: NetworkName,
    /// Where lists are.
    pub config_dir: PathBuf,
    /// Where plugins are, the first with the program counts.
    pub bin_dirs: Vec<PathBuf>,
    /// Where it is written down what was begun for which seat; on a disk, and nobody else's.
    pub cache: PathBuf,
    /// Where the seats' network namespaces have their names; nobody else's, and best where a reboot empties it.
    pub namespaces: PathBuf,
    /// How long a plugin may run.
    pub limit: Duration,
}

impl CniOptions {
    /// How long a plugin may run, unless an operator says otherwise.
    pub const LIMIT: Duration = Duration::from_secs(60);

    /// Where the namespaces of an instance are, unless somebody says otherwise.
    #[must_use]
    pub fn namespaces_of(instance: &InstanceId) -> PathBuf {
        Path::new("/run/clarateach").join(instance.as_str()).join("netns")
    }
}

/// An operator's network, for all seats of a service.
#[derive(Clone, Debug)]
pub struct Cni(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: CniOptions,
    pub(super) cache: Cache,
    pub(super) eth: IfName,
    /// The versions that programs said they know.
    pub(super) known: Mutex<HashMap<Program, Vec<SpecVersion>>>,
}

/// A program as it was when it was asked: path, size, time of change.
pub(super) type Program = (PathBuf, u64, Option<SystemTime>);

/// A network as it can be used now.
#[derive(Clone, Debug)]
pub struct Network {
    /// What the operator wrote.
    pub list: NetworkList,
    /// Where.
    pub path: PathBuf,
    /// What is spoken with its plugins: the newest version that all know and the list is written for.
    pub version: SpecVersion,
}

/// Where a seat is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The network namespace with the TAP device; VMMs that open it must be in there.
    pub namespace: PathBuf,
    /// The TAP device.
    pub tap: IfName,
    /// The hardware address that the guest must have.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// The guest's address and the size of its subnet.
    pub address: Ipv4Net,
    /// The guest's way out.
    pub gateway: Option<Ipv4Addr>,
    /// How the network says that names are resolved.
    pub dns: Dns,
}

impl Cni {
    /// Nothing is looked at yet.
    ///
    /// # Errors
    /// None that is possible.
    pub fn new(options: CniOptions) -> io::Result<Self> {
        let eth = INTERFACE.parse().map_err(io::Error::other)?;
        let cache = Cache::new(options.cache.clone());
        Ok(Self(Arc::new(Inner { options, cache, eth, known: Mutex::default() })))
    }

    /// The network as the operator's files have it now: its list, and a version that all of its plugins know.
    ///
    /// # Errors
    /// With what is missing or wrong, and what to do.
    pub async fn network(&self) -> Result<Network, CniError> {
        let CniOptions { config_dir, network, .. } = &self.0.options;
        let (list, path) = NetworkList::find(config_dir, network)?;
        let mut common: Vec<_> = list.versions().iter().copied().collect();
        let mut told = vec![format!("the list is for {}", versions(&common))];
        for plugin in list.programs() {
            let known = self.0.versions_of(plugin.as_str(), &list).await?;
            common.retain(|version| known.contains(version));
            told.push(format!("{plugin} knows {}", versions(&known)));
        }
        let version = common
            .last()
            .copied()
            .ok_or_else(|| CniError::Version { network: network.to_string(), detail: told.join(", ") })?;
        Ok(Network { list, path, version })
    }

    /// Puts a seat on the network, or finds that it is there; `user` may open its TAP device. What is missing of one that is there is mended, under
    /// a VMM too. Where no VMM holds it and a plugin says at CHECK that something is wrong, it is taken off and put on anew, with the same
    /// address where the network lets us choose.
    ///
    /// # Errors
    /// With what failed, after it was taken back: [`CniError::Left`] says what was not, which [`Cni::detach`] tries again.
    pub async fn attach(&self, seat: &SeatRef, user: Option<u32>) -> Result<Attached, CniError> {
        let at = self.0.attachment(seat);
        let mut turn = self.0.turn(&at).await?;
        let known = self.0.noted(&at)?;
        let mut wish = Map::new();
        if let Some(entry) = known {
            if let Some(there) = self.0.there(&at, &entry, &mut turn, user).await? {
                return Ok(there);
            }
            if let Some(guest) = entry.result.as_ref().and_then(|result| result.guest(INTERFACE).ok()) {
                wish.insert("ips".into(), Value::from(vec![guest.address.to_string()]));
            }
            self.0.undo(&at, &entry, &mut turn).await?;
        }
        let network = match self.network().await {
            Ok(network) => network,
            Err(why) => {
                turn.over();
                return Err(why);
            }
        };
        let mut entry = Entry {
            list: network.list,
            version: network.version,
            container: at.container.clone(),
            capabilities: wish,
            namespace: None,
            result: None,
        };
        self.0.note(&at, &entry)?;
        match self.0.add(&at, &mut entry, &mut turn, user).await {
            Ok(attached) => Ok(attached),
            Err(why) => match self.0.undo(&at, &entry, &mut turn).await {
                Ok(()) => {
                    turn.over();
                    Err(why)
                }
                Err(CniError::Several(left)) => Err(CniError::Left { why: Box::new(why), left }),
                Err(left) => Err(CniError::Left { why: Box::new(why), left: vec![left] }),
            },
        }
    }

    /// Takes a seat off the network. That it is not there is success.
    ///
    /// # Errors
    /// With everything that failed, after all the rest was done. It can be tried again.
    pub async fn detach(&self, seat: &SeatRef) -> Result<(), CniError> {
        let at = self.0.attachment(seat);
        let mut turn = self.0.turn(&at).await?;
        match self.0.noted(&at)? {
            Some(entry) => self.0.undo(&at, &entry, &mut turn).await?,
            None => netns::remove(&at.namespace)
                .map_err(CniError::host(&at.whom, "removing its network namespace"))?,
        }
        turn.over();
        Ok(())
    }

    /// How a seat is joined to the network. Nothing is changed, and plugins are not asked.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn state(&self, seat: &SeatRef) -> Result<PortState, CniError> {
        let at = self.0.attachment(seat);
        let failed = || CniError::host(&at.whom, "looking at its network namespace");
        let entry = self.0.cache.read(&at.key).map_err(failed())?;
        let Some(namespace) = entry.filter(|entry| entry.result.is_some()).and_then(|entry| entry.namespace)
        else {
            return Ok(PortState::Unplugged);
        };
        if netns::number(&at.namespace).map_err(failed())? != Some(namespace.inode) {
            // It may live on without its name, which attaching gives back.
            let lives = cache::boot_id().is_ok_and(|boot| boot == namespace.boot);
            return Ok(if lives { PortState::Loose } else { PortState::Unplugged });
        }
        let inside = Inside::open(&at.namespace).await.map_err(failed())?;
        Ok(match inside.state(&self.0.eth, &at.tap).await.map_err(failed())? {
            Joined::Whole => PortState::Whole,
            Joined::Loose => PortState::Loose,
            Joined::Unplugged => PortState::Unplugged,
        })
    }

    /// Asks all plugins whether the seat is still as they made it; where that cannot be asked, it is.
    ///
    /// # Errors
    /// With what the first says that finds it is not.
    pub async fn check(&self, seat: &SeatRef) -> Result<(), CniError> {
        let at = self.0.attachment(seat);
        let mut turn = self.0.turn(&at).await?;
        match self.0.noted(&at)? {
            Some(entry) => self.0.check(&at, &entry, &mut turn).await,
            None => Ok(()),
        }
    }

    /// The seats for which something was begun, and removes the namespaces of others, for which nothing was.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn survey(&self) -> Result<Vec<SeatRef>, CniError> {
        let folder = &self.0.options.namespaces;
        let failed = |doing: &str| CniError::host("this host", format!("{doing} {}", folder.display()));
        let names: Vec<_> = match std::fs::read_dir(folder) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => {
                let entries = entries.map_err(failed("reading"))?;
                entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
            }
        };
        // In this order: what gets a namespace in between has an entry already.
        let seats = self
            .0
            .cache
            .seats()
            .map_err(CniError::host("this host", "reading which seats have a network"))?;
        for name in names {
            if cache::seat_of(&name).is_none_or(|seat| seats.binary_search(&seat).is_err()) {
                netns::remove(&folder.join(&name)).map_err(failed("removing what is of no seat from"))?;
            }
        }
        Ok(seats)
    }

    /// The name of the TAP device of a seat, in the seat's namespace.
    #[must_use]
    pub fn tap(&self, seat: &SeatRef) -> IfName {
        self.0.options.instance.tap(seat)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}
