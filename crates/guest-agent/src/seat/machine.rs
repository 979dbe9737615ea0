//! The machine that we are the first process of.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use guest_protocol::GuestConfig;

use super::disks::Disks;
use super::{Machine, Seat, cgroup, etc, mounts, network, random, workspace};
use crate::power;

/// Where disks are mounted before the root changes.
const ROOT: &str = "/seat/root";
const SCRATCH: &str = "/seat/scratch";
const DATA: &str = "/seat/data";
const NEW: &str = "/seat/new";

/// The machine that we are the first process of.
#[derive(Debug)]
pub(crate) struct MicroVm {
    disks: Disks,
    /// The mounted file systems that can be written to, by a descriptor: no path leads there once the root has changed.
    written: Mutex<Vec<OwnedFd>>,
}

impl MicroVm {
    /// The machine whose disks have these serials in this order; nothing: each disk tells its own.
    pub(crate) fn new(serials: Option<Vec<String>>) -> Self {
        Self { disks: Disks::new(serials), written: Mutex::default() }
    }
}

impl Machine for MicroVm {
    fn prepare(&self, config: Arc<GuestConfig>) -> Result<(Seat, Vec<String>), String> {
        let mut warnings = Vec::new();
        if let Some(unix_ns) = config.clock_unix_ns {
            warnings.extend(random::set_clock(unix_ns).err());
        }
        warnings.extend(random::add_entropy(config.entropy.expose()).err());
        rustix::system::sethostname(config.hostname.as_bytes())
            .map_err(|why| format!("the host name {:?} cannot be set: {why}", config.hostname))?;
        network::loopback()?;
        if let Some(network) = &config.network {
            network::set_up(network)?;
        }
        let data = self.change_root(&config)?;
        warnings.extend(mounts::late());
        etc::write(&config)?;
        if let (Some(workspace), Some(data)) = (&config.workspace, data) {
            workspace::attach(data, &workspace.path, &config.run)?;
        }
        let cgroup = Some(cgroup::make(config.limits.pids)?);
        Ok((Seat { config, cgroup }, warnings))
    }

    fn set_clock(&self, unix_ns: u64) -> Result<(), String> {
        random::set_clock(unix_ns)
    }

    fn power_off(&self) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        power::off(&written);
    }
}

impl MicroVm {
    /// Mounts the disks and makes the seat's root ours; gives the file system of the disk `data`, if it has one.
    fn change_root(&self, config: &GuestConfig) -> Result<Option<OwnedFd>, String> {
        let at = |path: &'static str| {
            mounts::folder(Path::new(path)).map_err(|why| format!("{path} cannot be made: {why}"))?;
            Ok::<_, String>(Path::new(path))
        };
        self.disks.find("root")?.mount(at(ROOT)?, true)?;
        self.writable("scratch", at(SCRATCH)?)?;
        let data = config.workspace.as_ref().map(|_| self.writable("data", at(DATA)?)).transpose()?;
        mounts::overlay(Path::new(ROOT), Path::new(SCRATCH), Path::new(NEW))
            .map_err(|why| format!("the disk \"scratch\" cannot be laid over the disk \"root\": {why}"))?;
        mounts::become_root(Path::new(NEW), &["/dev", "/proc", "/sys"])
            .map_err(|why| format!("the seat's file system cannot become the root: {why}"))?;
        Ok(data)
    }

    /// Mounts a disk that can be written to, and makes its file system as large as it.
    fn writable(&self, serial: &'static str, at: &Path) -> Result<OwnedFd, String> {
        let disk = self.disks.find(serial)?;
        disk.mount(at, false)?;
        disk.grow(at)?;
        let opened = File::open(at).and_then(|folder| Ok((folder.try_clone()?, folder)));
        let (kept, folder) = opened.map_err(|why| format!("the disk {serial:?} cannot be read: {why}"))?;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(kept.into());
        Ok(folder.into())
    }
}

/// The same machine, when its root is the image's own disk, and the agent its `init=`.
#[derive(Debug)]
pub(crate) struct OwnDisk;

impl Machine for OwnDisk {
    fn prepare(&self, config: Arc<GuestConfig>) -> Result<(Seat, Vec<String>), String> {
        let mut warnings = mounts::late();
        warnings.extend(network::loopback().err());
        let named = rustix::system::sethostname(config.hostname.as_bytes());
        warnings.extend(named.err().map(|why| format!("the host name cannot be set: {why}")));
        let cgroup = match cgroup::make(config.limits.pids) {
            Ok(folder) => Some(folder),
            Err(why) => {
                warnings.push(why);
                None
            }
        };
        Ok((Seat { config, cgroup }, warnings))
    }

    fn set_clock(&self, unix_ns: u64) -> Result<(), String> {
        random::set_clock(unix_ns)
    }

    fn power_off(&self) {
        power::off(&[]);
    }
}
