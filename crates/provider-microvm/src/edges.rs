//! Everything that seats need of the host beyond files: the kernel's network, monitors, guests, and what the host is like.
//!
//! The provider knows nothing but these traits, so that tests can put a scripted host in their place and let every step fail
//! in turn. What they hand out are the real parts' own types, wherever those have no host behind them.

mod cni;
mod guest;
mod host;
mod machine;
mod network;
#[cfg(test)]
pub(crate) mod scripted;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::client::{Agent, ClientError, LinkError, LinkOptions};
use guest_protocol::{GuestConfig, Health};
use hostnet::PortState;
use ipnet::Ipv4Net;
use seats::{ObjectKind, SeatRef, WorkshopId};

pub(crate) use self::cni::CniNet;
pub(crate) use self::host::ThisHost;
pub(crate) use self::machine::RealMachines;
pub(crate) use self::network::KernelNet;
use crate::records::{Mac, Wiring};
use crate::vmm::{Exit, Expected, RunFolder, Snapshot, VmSpec, VmmError};

/// The host as one provider sees it.
#[derive(Clone)]
pub(crate) struct Edges {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) machines: Arc<dyn Machines>,
    pub(crate) host: Arc<dyn Host>,
}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edges")
    }
}

/// The network of one workshop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkshopNet {
    pub(crate) workshop: WorkshopId,
    pub(crate) wiring: Wiring,
}

/// One seat's port in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) seat: SeatRef,
    pub(crate) tap: String,
    pub(crate) mac: Mac,
    pub(crate) address: Ipv4Addr,
    /// The user and group that may open it; the service's own when there is none.
    pub(crate) owner: Option<u32>,
}

/// Where a seat is, once its port is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ip: Ipv4Addr,
    /// How many bits of the address are the network's.
    pub(crate) prefix: u8,
    pub(crate) mac: Mac,
    /// Nothing further is reached when there is none.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The largest packet in bytes, where it is not the usual one.
    pub(crate) mtu: Option<u32>,
    /// Whom the network says to ask for names, and for which short ones.
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    /// The network namespace that the TAP device is in, where it is not the service's own.
    pub(crate) namespace: Option<PathBuf>,
}

/// An object of this instance that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// A workshop's bridge.
    Bridge { name: String, workshop: WorkshopId },
    /// A seat's TAP device.
    Tap { name: String, seat: SeatRef },
}

/// Why the network is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetError {
    /// A name is taken by what is not ours.
    #[error("{name} is taken by a {kind} of somebody else")]
    Foreign { kind: ObjectKind, name: String },
    /// No subnet is left.
    #[error("{0}")]
    Exhausted(String),
    /// The configuration does not fit this host.
    #[error("{0}")]
    Refused(String),
    /// The kernel refused.
    #[error("{0}")]
    Failed(String),
}

/// Bridges, TAP devices and the packet filter. Each operation can be repeated; removing what is not there is success.
#[async_trait]
pub(crate) trait Network: Send + Sync {
    /// What the bridge of a workshop is called: always the same.
    fn bridge(&self, workshop: &WorkshopId) -> String;
    /// What the TAP device of a seat is called: always the same.
    fn tap(&self, seat: &SeatRef) -> String;
    /// The operator's network that seats are on, in place of bridges of ours; it gives them their addresses.
    fn operators(&self) -> Option<String>;
    /// Looks whether seats can be put on the network at all; nothing is changed.
    async fn check(&self) -> Result<(), NetError>;
    /// A subnet of the pool that neither a record nor the host itself uses.
    async fn free_subnet(&self, pool: Ipv4Net, prefix: u8, recorded: &[Ipv4Net])
    -> Result<Ipv4Net, NetError>;
    /// The addresses that the packet filter knows as seats' of this instance, whatever the records say.
    async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, NetError>;
    async fn ensure_workshop(&self, net: &WorkshopNet) -> Result<(), NetError>;
    async fn ensure_port(&self, net: &WorkshopNet, port: &Port) -> Result<Place, NetError>;
    /// How a seat's port is.
    async fn port_state(&self, net: &WorkshopNet, port: &Port) -> Result<PortState, NetError>;
    /// Removes a seat's port, with the address that it has alone. What is somebody else's stays, and is no error.
    async fn remove_port(&self, seat: &SeatRef) -> Result<(), NetError>;
    /// Removes a workshop's network in the same way.
    async fn remove_workshop(&self, workshop: &WorkshopId, subnet: Option<Ipv4Net>) -> Result<(), NetError>;
    /// Every object of this instance.
    async fn survey(&self) -> Result<Vec<Found>, NetError>;
    /// Whether all of these seats are kept apart as they were when they were put on the network.
    async fn guards(&self, seats: &[(WorkshopNet, Port)]) -> Result<bool, NetError>;
    /// Puts the rules for all seats in force again, should somebody have removed them.
    async fn refresh(&self) -> Result<(), NetError>;
    /// Has seats reach the world, and the name servers that they are told of, by the way that the host has now. May start other programs, which no seat is to wait for.
    async fn keep_reaching(&self) -> Result<(), NetError>;
    /// Waits until something was made that [`Network::keep_reaching`] is to see to at once.
    async fn news(&self);
}

/// What starts and finds VMs.
#[async_trait]
pub(crate) trait Machines: Send + Sync {
    /// Told that a VM will be started in a moment. Does not wait, and may do nothing.
    fn expect(&self) -> Expected;
    async fn start(&self, spec: &VmSpec) -> Result<Arc<dyn Machine>, VmmError>;
    /// What a snapshot for this VM is called: something else as soon as anything differs that it depends on.
    async fn snapshot_name(&self, spec: &VmSpec, image: &str) -> Result<String, VmmError>;
    /// Boots this VM until its agent waits for its host, within so long, and then writes it to a folder, which may take as long as its memory is large, and ends it. When the
    /// future is dropped it may run on.
    async fn save(&self, spec: &VmSpec, image: &str, folder: &Path, boot: Duration) -> Result<(), VmmError>;
    /// Starts this VM from a snapshot.
    async fn restore(
        &self,
        spec: &VmSpec,
        image: &str,
        from: &Snapshot,
    ) -> Result<Arc<dyn Machine>, VmmError>;
    async fn adopt(&self, seat: &str, folder: &RunFolder) -> Result<Option<Arc<dyn Machine>>, VmmError>;
    async fn clear(&self, seat: &str, folder: &RunFolder) -> Result<(), VmmError>;
    /// How many files as large as the guest's memory the disk holds at most because of a VM that is being saved.
    fn files_of_memory(&self) -> u32;
    /// What a monitor needs beside a guest's memory of so many MiB, in MiB.
    fn overhead_mib(&self, guest_mib: u32) -> u32;
    /// What serves, in words: the monitor with its version and how it runs guests of this kernel.
    async fn summary(&self, kernel: &Path) -> Result<String, VmmError>;
}

/// One VM.
#[async_trait]
pub(crate) trait Machine: Send + Sync {
    /// What tells it from every other VM that this process has seen.
    fn key(&self) -> String;
    fn is_alive(&self) -> bool;
    /// Waits for its end.
    async fn exited(&self) -> Result<Exit, VmmError>;
    /// Lets a VM go on that stands still because a disk of its could not be written to; QEMU tries again what failed then, and stops
    /// once more when it still fails. Whether it stood.
    async fn unstick(&self) -> Result<bool, VmmError>;
    /// Opens the link to its agent, of which there is one at a time.
    async fn guest(&self, options: LinkOptions) -> Result<Arc<dyn Guest>, LinkError>;
}

/// The agent in a guest.
#[async_trait]
pub(crate) trait Guest: Send + Sync {
    async fn health(&self) -> Result<Health, ClientError>;
    async fn configure(&self, config: &GuestConfig) -> Result<Health, ClientError>;
    async fn watch(&self) -> Result<Box<dyn Changes>, ClientError>;
    async fn set_time(&self, unix_ns: u64) -> Result<(), ClientError>;
    async fn stop(&self, deadline: Duration) -> Result<(), ClientError>;
    /// The agent itself, for what is not here; nothing where there is none.
    fn agent(&self) -> Option<Agent>;
}

/// A guest's health on every change.
#[async_trait]
pub(crate) trait Changes: Send {
    /// May be dropped while it waits.
    async fn next(&mut self) -> Result<Option<Health>, ClientError>;
}

/// Where a seat's kernel and first root are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootFiles {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// The kernel's version, for people.
    pub(crate) version: String,
}

/// What the host is like.
#[async_trait]
pub(crate) trait Host: Send + Sync {
    /// Its memory in MiB.
    fn memory_mib(&self) -> std::io::Result<u64>;
    /// Bytes of a folder's disk that can still be used.
    fn free_bytes(&self, folder: &Path) -> std::io::Result<u64>;
    /// The run of the host.
    fn boot_id(&self) -> std::io::Result<String>;
    /// The users that have a process, whosever it is, from a number on.
    fn users_from(&self, first: u32) -> std::io::Result<BTreeSet<u32>>;
    /// The name servers that guests can ask as well.
    fn nameservers(&self) -> Vec<IpAddr>;
    /// The prepared kernel; otherwise what is wrong with it and what to do.
    fn boot_files(&self) -> Result<BootFiles, String>;
    /// Connects to each port of an address; otherwise the first that does not answer, and why.
    async fn answers(&self, address: Ipv4Addr, ports: &[u16]) -> Result<(), String>;
}
