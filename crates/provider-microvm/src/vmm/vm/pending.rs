//! From a started process to a VM: the part of a start that may fail, be given up or be killed.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{AsyncFd, Control, Identity, Launching, MonitorKind, RunFolder, Vm, VmSpec, VmmError, Way};
use super::{identity, limits, timeout, watched};
use crate::vmm::jail::JailSpec;
use crate::vmm::keeper::{Keepers, Launch};
use crate::vmm::{CgroupSpec, STARTED};

/// A VM whose keeper is not told yet that it shall live.
#[derive(Debug)]
struct Pending {
    launching: Launching,
    spec_folder: RunFolder,
    identity: Identity,
    vmm: Option<OwnedFd>,
    keeper: Option<OwnedFd>,
}

/// Kills on the way out, unless it is told not to.
struct Armed(Option<AsyncFd<OwnedFd>>);

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(vmm) = &self.0 {
            // The keeper sees it and tidies up.
            drop(identity::kill(vmm.get_ref()));
        }
    }
}

/// Has a keeper start a VM, and lets it live when it is ready. Each of both may take so long.
pub(in crate::vmm) async fn start<W, F>(
    keepers: &Keepers,
    limit: Duration,
    spec: &VmSpec,
    launch: Launch,
    ready: impl FnOnce(Arc<W>) -> F,
) -> Result<Vm, VmmError>
where
    W: Way,
    F: Future<Output = Result<(), VmmError>>,
{
    // By the service and not the keeper: one that comes late, after the service was killed, makes no folder that was removed again.
    let made = spec.folder.make();
    made.map_err(VmmError::io(&spec.seat, format!("making {}", spec.folder.path().display())))?;
    let (monitor, jail) = (launch.monitor, launch.jail.as_ref().map(JailSpec::place));
    let launching = Launching::start(keepers, launch, limit).await?;
    Pending::new(launching, spec, monitor, jail)?.finish(ready).await
}

impl Pending {
    /// `jail` is as [`Identity::jail`].
    fn new(
        launching: Launching,
        spec: &VmSpec,
        monitor: MonitorKind,
        jail: Option<PathBuf>,
    ) -> Result<Self, VmmError> {
        let io = |what: &'static str| VmmError::io(&spec.seat, what);
        let identity = Identity {
            schema: identity::SCHEMA,
            seat: spec.seat.clone(),
            monitor,
            boot_id: identity::boot_id().map_err(io("reading the host's boot id"))?,
            vmm: launching.vmm,
            keeper: launching.keeper,
            user: spec.user,
            cgroup: spec.cgroup.as_ref().map(|cgroup| (cgroup.parent.clone(), cgroup.name.clone())),
            memory_mib: spec.cgroup.as_ref().map(CgroupSpec::memory_mib),
            jail,
        };
        let vmm = identity.vmm.open().map_err(io("opening the VM's process"))?;
        let keeper = identity.keeper.open().map_err(io("opening the keeper's process"))?;
        Ok(Self { launching, spec_folder: spec.folder.clone(), identity, vmm, keeper })
    }

    /// Waits until the VM is as it should be, and lets it live then. Whatever else happens, nothing is left of it.
    async fn finish<W, F>(self, ready: impl FnOnce(Arc<W>) -> F) -> Result<Vm, VmmError>
    where
        W: Way,
        F: Future<Output = Result<(), VmmError>>,
    {
        let Self { mut launching, spec_folder, identity, vmm, keeper } = self;
        let limit = launching.limit;
        let io = |what: &'static str| VmmError::io(&identity.seat, what);
        let (Some(vmm), Some(keeper)) = (vmm, keeper) else {
            let why = launching.ended().await;
            launching.give_up().await;
            return Err(why);
        };
        let mut vmm = Armed(Some(watched(vmm).map_err(io("watching the VM's process"))?));
        let keeper = watched(keeper).map_err(io("watching the keeper's process"))?;
        let control = Arc::new(W::to(&identity, &spec_folder));
        let done = {
            let Some(process) = &vmm.0 else { return Err(launching.ended().await) };
            let steps = async {
                let ready = timeout(limit, ready(Arc::clone(&control))).await;
                let late = VmmError::Timeout { seat: identity.seat.clone(), what: STARTED, limit };
                ready.map_err(|_| control.late(limit).unwrap_or(late))?
            };
            tokio::select! {
                biased;
                _ = process.readable() => Err(launching.ended().await),
                done = steps => done,
            }
        };
        let done = match done {
            Ok(()) => launching.confirm().await,
            Err(why) => Err(why),
        };
        if let (true, Some(process)) = (done.as_ref().is_err_and(VmmError::is_gone), &vmm.0) {
            // Its socket is closed a little before it has ended; when it does not end, that is not the reason.
            drop(timeout(limits::ENDING, process.readable()).await);
        }
        match (done, vmm.0.take()) {
            (Ok(()), Some(vmm)) => {
                let control = W::any(control);
                let reading = control.reading(&identity.seat);
                Ok(Vm { folder: spec_folder, identity, vmm, keeper: Some(keeper), control, reading })
            }
            (Ok(()), None) => Err(launching.ended().await),
            (Err(why), process) => {
                let dead =
                    process.as_ref().is_none_or(|process| identity::ended(process.get_ref()).unwrap_or(true));
                drop(Armed(process));
                // An error of the control socket is not the reason when the monitor has just ended.
                let why = match why {
                    VmmError::Monitor { .. } if dead => launching.ended().await,
                    VmmError::Firecracker(_) if dead && why.is_gone() => launching.ended().await,
                    other => other,
                };
                launching.give_up().await;
                Err(why)
            }
        }
    }
}

/// The VM that runs in a folder, in whichever monitor.
pub(in crate::vmm) async fn adopt(seat: &str, folder: &RunFolder) -> Result<Option<Vm>, VmmError> {
    let path = folder.path().display().to_string();
    let io = |what: &str| VmmError::io(seat, format!("{what} in {path}"));
    if !folder.path().is_dir() || !super::ending::decided(seat, folder).await? {
        return Ok(None);
    }
    let Some(identity) = folder.identity().map_err(io("reading vmm.json"))? else { return Ok(None) };
    let boot_id = identity::boot_id().map_err(io("reading the host's boot id for the VM"))?;
    if identity.boot_id != boot_id {
        return Ok(None);
    }
    let Some(vmm) = identity.vmm.open().map_err(io("opening the process of the VM"))? else {
        return Ok(None);
    };
    let keeper = identity.keeper.open().map_err(io("opening the keeper of the VM"))?;
    let vmm = watched(vmm).map_err(io("watching the process of the VM"))?;
    let keeper = keeper.map(watched).transpose().map_err(io("watching the keeper of the VM"))?;
    let control = Control::to(&identity, folder);
    let reading = control.reading(seat);
    Ok(Some(Vm { folder: folder.clone(), identity, vmm, keeper, control, reading }))
}
