//! The cgroup of a VM, in version 1 and 2 of the kernel's interface.
//!
//! ```text
//!   {hierarchy}/{parent}/keepers     all keepers; without limits; so that the end of the service's own cgroup ends none of them
//!   {hierarchy}/{parent}/{name}      one VM's monitor and nothing else
//! ```
//!
//! A host may have the controllers in hierarchies of their own (version 1), in the one of version 2, or some here and some there
//! (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel). Each of `memory`, `cpu` and `pids` is used where it is found. The hierarchy
//! by which systemd knows whose a process is (`name=systemd`, or version 2) is entered too.
//!
//! Nothing is removed but what is empty, and the cgroup of another's processes is not used.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::CgroupSpec;
use super::pause::pause;
use hierarchy::{Controller, Hierarchy};

mod hierarchy;
mod warm;

pub(crate) use warm::warm;

const KEEPERS: &str = "keepers";
/// The kernel's own default (`cpu.cfs_period_us`).
const PERIOD_US: u64 = 100_000;
/// How often a cgroup is made anew that another keeper, which ended, removed in the same moment.
const TRIES: usize = 20;
/// How often, and how long apart, the kernel is asked again whether a cgroup has become empty.
const EMPTY_TRIES: usize = 200;
const EMPTY_PAUSE: Duration = Duration::from_millis(10);

/// The cgroups of one VM.
#[derive(Debug)]
pub struct Cgroup {
    hierarchies: Vec<Hierarchy>,
    parent: PathBuf,
    name: String,
}

impl Cgroup {
    /// Finds the hierarchies of this host; changes nothing.
    ///
    /// # Errors
    /// When the host lacks a controller; the text says which.
    pub fn find(parent: &str, name: &str) -> io::Result<Self> {
        Self::among(&fs::read_to_string("/proc/self/mountinfo")?, Path::new("/"), parent, name)
    }

    /// As [`Self::find`], with the mounts of `/proc/self/mountinfo` as text and below another root.
    pub(crate) fn among(mounts: &str, root: &Path, parent: &str, name: &str) -> io::Result<Self> {
        let hierarchies = hierarchy::find(mounts, root)?;
        Ok(Self { hierarchies, parent: parent.into(), name: name.into() })
    }

    /// Whether this process may make cgroups there; changes nothing.
    ///
    /// # Errors
    /// With the first folder that cannot be written.
    pub fn writable(&self) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| {
            let parent = hierarchy.folder(&self.parent);
            let there = if parent.exists() { parent } else { hierarchy.folder(Path::new(".")) };
            let may = access(&there, Access::WRITE_OK | Access::EXEC_OK);
            may.map_err(|why| named(&there, &why.into()))
        })
    }

    /// Which version has which controller, for a person.
    pub(crate) fn versions(&self) -> String {
        let with = self.hierarchies.iter().filter(|hierarchy| !hierarchy.controllers.is_empty());
        let (second, first): (Vec<_>, Vec<_>) = with.partition(|hierarchy| hierarchy.unified);
        let told = [(1, first), (2, second)].into_iter().filter(|(_, found)| !found.is_empty());
        let told: Vec<_> = told
            .map(|(version, found)| {
                let controllers = found.iter().flat_map(|hierarchy| &hierarchy.controllers);
                let names: Vec<_> = controllers.map(|controller| controller.name()).collect();
                format!("version {version}: {}", names.join(", "))
            })
            .collect();
        told.join("; ")
    }

    /// Whether the kernel keeps a cgroup's memory from being swapped: a file that all cgroups but the uppermost have in version 2. What version 1 has for that
    /// limits how much is used of both, and forbids nothing (Documentation/admin-guide/cgroup-v1/memory.rst of the kernel, 2.4).
    pub(crate) fn limits_swap(&self) -> bool {
        let memory = |hierarchy: &&Hierarchy| hierarchy.controllers.contains(&Controller::Memory);
        self.hierarchies.iter().find(memory).is_some_and(|hierarchy| {
            let below = fs::read_dir(hierarchy.folder(Path::new(""))).into_iter().flatten().flatten();
            hierarchy.unified && below.into_iter().any(|entry| entry.path().join("memory.swap.max").exists())
        })
    }

    /// Makes it with its limits.
    ///
    /// # Errors
    /// When it cannot be made; what was made is removed. [`io::ErrorKind::ResourceBusy`] when processes are in it already.
    pub fn create(&self, spec: &CgroupSpec) -> io::Result<()> {
        let made = self.hierarchies.iter().try_for_each(|hierarchy| {
            let parent = &self.parent;
            again(|| {
                hierarchy.make(parent, true)?;
                hierarchy.make(&parent.join(&self.name), false)
            })?;
            let leaf = hierarchy.folder(&parent.join(&self.name));
            if !fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default().trim().is_empty() {
                let why = format!("{} has processes in it that are not ours", leaf.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
            }
            limit(hierarchy, &leaf, spec)
        });
        made.inspect_err(|why| {
            if why.kind() != io::ErrorKind::ResourceBusy {
                // It is the first error that is told.
                drop(self.remove());
            }
        })
    }

    /// Moves the calling process to where the keepers are.
    ///
    /// # Errors
    /// When the kernel does not let it.
    pub fn enter_keepers(&self) -> io::Result<()> {
        let keepers = self.parent.join(KEEPERS);
        self.hierarchies.iter().try_for_each(|hierarchy| {
            again(|| {
                hierarchy.make(&self.parent, true)?;
                hierarchy.make(&keepers, false)?;
                write(&hierarchy.folder(&keepers).join("cgroup.procs"), "0")
            })
        })
    }

    /// Files into which a process writes `0` to move itself into the VM's cgroup.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |hierarchy: &Hierarchy| {
            let path = hierarchy.folder(&self.parent.join(&self.name)).join("cgroup.procs");
            OpenOptions::new().write(true).open(&path).map(OwnedFd::from).map_err(|why| named(&path, &why))
        };
        self.hierarchies.iter().map(open).collect()
    }

    /// Whether the kernel killed a process in it for want of memory.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        self.hierarchies.iter().any(|hierarchy| {
            let leaf = hierarchy.folder(&self.parent.join(&self.name));
            let texts =
                ["memory.events", "memory.oom_control"].map(|file| fs::read_to_string(leaf.join(file)));
            let kills = |text: &str| {
                text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|n| n != "0"))
            };
            texts.iter().flatten().any(|text| kills(text))
        })
    }

    /// Removes the VM's cgroup, and waits a moment for its last process to be gone. One that is not there is success.
    ///
    /// # Errors
    /// When processes stay in it.
    pub fn remove(&self) -> io::Result<()> {
        let leaf = self.parent.join(&self.name);
        let mut result = Ok(());
        for hierarchy in &self.hierarchies {
            if let Err(why) = remove_when_empty(&hierarchy.folder(&leaf)) {
                result = Err(why);
            }
            self.remove_parents(hierarchy);
        }
        result
    }

    /// Moves the calling process out to the root and removes what is empty then: for the last keeper.
    pub fn leave_keepers(&self) {
        for hierarchy in &self.hierarchies {
            // Where the root takes no processes the folder of the keepers stays, for the next one.
            if write(&hierarchy.folder(Path::new("")).join("cgroup.procs"), "0").is_ok() {
                drop(fs::remove_dir(hierarchy.folder(&self.parent.join(KEEPERS))));
                self.remove_parents(hierarchy);
            }
        }
    }

    fn remove_parents(&self, hierarchy: &Hierarchy) {
        for parent in self.parent.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            // Others are in it: it stays.
            if fs::remove_dir(hierarchy.folder(parent)).is_err() {
                break;
            }
        }
    }
}

/// Writes the limits of those controllers that this hierarchy has for us.
fn limit(hierarchy: &Hierarchy, leaf: &Path, spec: &CgroupSpec) -> io::Result<()> {
    let quota = u64::from(spec.cpu_millis) * PERIOD_US / 1000;
    for controller in &hierarchy.controllers {
        let set = |file: &str, value: String| write(&leaf.join(file), &value);
        match (controller, hierarchy.unified) {
            (Controller::Memory, true) => {
                set("memory.max", spec.memory_bytes.to_string())?;
                // A kernel without swap has no such file. The guest's memory holds secrets, and is not to be on a disk.
                drop(set("memory.swap.max", "0".into()));
            }
            (Controller::Memory, false) => {
                set("memory.limit_in_bytes", spec.memory_bytes.to_string())?;
                drop(set("memory.memsw.limit_in_bytes", spec.memory_bytes.to_string()));
            }
            (Controller::Cpu, true) => set("cpu.max", format!("{quota} {PERIOD_US}"))?,
            (Controller::Cpu, false) => {
                set("cpu.cfs_period_us", PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", quota.to_string())?;
            }
            (Controller::Pids, _) => set("pids.max", spec.pids.to_string())?,
        }
    }
    Ok(())
}

/// Tries again when a folder was removed by another keeper between two steps.
fn again(mut make: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut result = Ok(());
    for _ in 0..TRIES {
        result = make();
        match &result {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) if why.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
            _ => break,
        }
    }
    result
}

fn remove_when_empty(folder: &Path) -> io::Result<()> {
    for _ in 0..EMPTY_TRIES {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that was waited for is still in its cgroup for a moment, and version 1 tells no one when it leaves.
            Err(why) if why.kind() == io::ErrorKind::ResourceBusy => pause(EMPTY_PAUSE),
            Err(why) => return Err(named(folder, &why)),
        }
    }
    let why = format!("{} still has processes in it", folder.display());
    Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Never creates a file: what is no cgroup is an error.
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(value.as_bytes())
    });
    written.map_err(|why| named(path, &why))
}

/// Keeps the kind, and the number when nothing but that tells it, and says where.
fn named(path: &Path, why: &io::Error) -> io::Error {
    if why.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
        return io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error());
    }
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
