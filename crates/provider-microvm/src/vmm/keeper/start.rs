//! Starts what a keeper keeps.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, ExitStatus, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::init::{Ahead, Init};
use super::{Launch, Open, open, spawn};
use crate::vmm::cgroup::Cgroup;
use crate::vmm::jail::{self, JailSpec};
use crate::vmm::{ProcessId, RunFolder, user};

/// The process that is the VM, as long as it is there: the monitor, or the first one of its namespace.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) vmm: ProcessId,
    /// Of one that is jailed.
    init: Option<Init>,
}

impl Started {
    /// Waits for the end, and tells how the monitor's was.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        Ok(self.init.as_mut().and_then(Init::status).unwrap_or(status))
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// Brings this process to where the VM's network is, if that is elsewhere. It has one thread, so it is in there as a whole.
pub(super) fn enter_network(launch: &Launch) -> io::Result<()> {
    let Some(namespace) = &launch.network_namespace else { return Ok(()) };
    let enter = File::open(namespace).and_then(|file| {
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(file.as_fd(), kind)?)
    });
    let name = namespace.display();
    enter.map_err(|why| io::Error::new(why.kind(), format!("entering the network namespace {name}: {why}")))
}

/// Starts the VM. `known` is told what it is before there is anything that its end is to take along.
pub(super) fn start(
    launch: &Launch,
    folder: &RunFolder,
    cgroup: Option<&Cgroup>,
    init: Ahead,
    known: impl FnOnce(ProcessId),
) -> io::Result<Started> {
    // TAP devices are opened in the namespace that they are in.
    enter_network(launch)?;
    let descriptors: Vec<_> =
        launch.descriptors.iter().map(|what| open::open(what, folder)).collect::<io::Result<_>>()?;
    // To be opened once at a time: this looks whether they are there, and lets go of them.
    for name in &launch.taps {
        drop(open::open(&Open::Tap { name: name.clone() }, folder)?);
    }
    let own = launch.has_folder.then(|| folder.make_vmm(launch.user)).transpose()?;
    let mut doors = Vec::new();
    if let (Some(cgroup), Some(spec)) = (cgroup, &launch.cgroup) {
        cgroup.enter_keepers()?;
        cgroup.create(spec)?;
        doors = cgroup.doors()?;
    }
    if let Some(jail) = &launch.jail {
        return jailed(launch, jail, init, known);
    }
    let mut child = spawn::spawn(launch, descriptors, doors, own, Stdio::piped)?;
    let vmm = identified(&mut child)?;
    known(vmm);
    Ok(Started { child, vmm, init: None })
}

/// A user has a process of somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("user {uid} has a process already, {pid}: a jailed VM needs a user of its own")]
pub(super) struct UserTaken {
    uid: u32,
    pid: u32,
}

fn jailed(
    launch: &Launch,
    jail: &JailSpec,
    init: Ahead,
    known: impl FnOnce(ProcessId),
) -> io::Result<Started> {
    let uid = jail.user.uid;
    if let Some(pid) = user::process_of(uid)? {
        return Err(io::Error::other(UserTaken { uid, pid }));
    }
    jail::stage(jail).map_err(io::Error::other)?;
    let (mut child, mut init) = init.take()?;
    let vmm = identified(&mut child)?;
    known(vmm);
    init.launch(launch).inspect_err(|_| end(&mut child))?;
    Ok(Started { child, vmm, init: Some(init) })
}

fn identified(child: &mut Child) -> io::Result<ProcessId> {
    let vmm = i32::try_from(child.id()).map_err(io::Error::other).and_then(ProcessId::of);
    vmm.inspect_err(|_| end(child))
}
