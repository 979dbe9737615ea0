//! Ends VMs and removes what they leave.

use std::fs::TryLockError;
use std::io;

use super::{AsyncFd, Identity, OwnedFd, RunFolder, Vm, VmmError, identity, limits, timeout, watched};
use crate::vmm::cgroup::Cgroup;
use crate::vmm::folder::Owner;

impl Vm {
    /// Ends it at once, as pulling the plug does, and returns when its processes are gone and its cgroup and sockets are removed. To be called again, also
    /// when it has ended, is success. Another VM that was started in the folder meanwhile is left alone.
    ///
    /// # Errors
    /// When something is left; it can be tried again.
    pub async fn kill(&self) -> Result<(), VmmError> {
        end(self.seat(), &self.vmm, self.keeper.as_ref()).await?;
        tidy(self.seat(), &self.folder).await
    }
}

/// Ends what runs in a folder, and tidies up.
pub(in crate::vmm) async fn clear(seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
    if !folder.path().is_dir() {
        return Ok(());
    }
    let path = folder.path().display().to_string();
    let io = |what: &str| VmmError::io(seat, format!("{what} in {path}"));
    decided(seat, folder).await?;
    // Neither file may be understood; the other one tells the same.
    let boot_id = identity::boot_id().map_err(io("reading the host's boot id for the VM"))?;
    let owner = folder.owner().ok().flatten().filter(|owner| owner.boot_id == boot_id);
    let identity = folder.identity().ok().flatten().filter(|identity| identity.boot_id == boot_id);
    let open = |process: Option<identity::ProcessId>| {
        let pidfd = process.map(identity::ProcessId::open).transpose()?.flatten();
        pidfd.map(watched).transpose()
    };
    let vmm = identity.as_ref().map(|identity: &Identity| identity.vmm);
    let vmm = vmm.or_else(|| owner.as_ref().and_then(|owner: &Owner| owner.vmm));
    let keeper = owner.map(|owner| owner.keeper).or_else(|| identity.map(|identity| identity.keeper));
    let was_there = vmm.is_some();
    let vmm = open(vmm).map_err(io("opening the VM"))?;
    let keeper = open(keeper).map_err(io("opening the VM's keeper"))?;
    match (&vmm, &keeper) {
        (Some(vmm), keeper) => end(seat, vmm, keeper.as_ref()).await?,
        // It writes down how its VM ended.
        (None, Some(keeper)) if was_there => ended(seat, keeper).await?,
        // The kernel kills the VM when its keeper dies.
        (None, Some(keeper)) => {
            identity::kill(keeper.get_ref()).map_err(io("killing the VM's keeper"))?;
            gone(seat, keeper, "the end of the VM's keeper").await?;
        }
        (None, None) => {}
    }
    tidy(seat, folder).await
}

/// Kills a VM and waits for it and its keeper.
async fn end(seat: &str, vmm: &AsyncFd<OwnedFd>, keeper: Option<&AsyncFd<OwnedFd>>) -> Result<(), VmmError> {
    identity::kill(vmm.get_ref()).map_err(VmmError::io(seat, "killing the VM's process"))?;
    gone(seat, vmm, "the end of the VM's process").await?;
    match keeper {
        Some(keeper) => ended(seat, keeper).await,
        None => Ok(()),
    }
}

/// Waits for the end of a keeper whose VM has ended, and kills it when it takes too long.
async fn ended(seat: &str, keeper: &AsyncFd<OwnedFd>) -> Result<(), VmmError> {
    if let Err(why) = gone(seat, keeper, "the end of the VM's keeper").await {
        tracing::warn!(seat, %why, "a keeper is killed");
        identity::kill(keeper.get_ref()).map_err(VmmError::io(seat, "killing the VM's keeper"))?;
        gone(seat, keeper, "the end of the VM's killed keeper").await?;
    }
    Ok(())
}

async fn gone(seat: &str, process: &AsyncFd<OwnedFd>, what: &'static str) -> Result<(), VmmError> {
    match timeout(limits::END, process.readable()).await {
        Ok(Ok(mut guard)) => {
            guard.retain_ready();
            Ok(())
        }
        Ok(Err(why)) => Err(VmmError::io(seat, what)(why)),
        Err(_) => Err(VmmError::Timeout { seat: seat.to_owned(), what, limit: limits::END }),
    }
}

/// Waits until no start is under way in a folder. False when there is no folder any more.
pub(super) async fn decided(seat: &str, folder: &RunFolder) -> Result<bool, VmmError> {
    let what = "the end of a start that is under way";
    let path = folder.path().display().to_string();
    let waited = folder.clone();
    let task = tokio::task::spawn_blocking(move || {
        waited.launch_lock_that_is_there()?.map_or(Ok(()), |lock| lock.lock_shared())?;
        Ok::<_, io::Error>(waited.path().is_dir())
    });
    match timeout(limits::START, task).await {
        Ok(Ok(Ok(is_there))) => Ok(is_there),
        Ok(Ok(Err(why))) => Err(VmmError::io(seat, format!("waiting for {what} in {path}"))(why)),
        Ok(Err(why)) => Err(VmmError::io(seat, what)(io::Error::other(why))),
        Err(_) => Err(VmmError::Timeout { seat: seat.to_owned(), what, limit: limits::START }),
    }
}

/// Removes what a dead keeper left; a live one is left alone.
async fn tidy(seat: &str, folder: &RunFolder) -> Result<(), VmmError> {
    let (path, at) = (folder.path().display().to_string(), folder.clone());
    let work = move || -> io::Result<()> {
        let lock = match at.keeper_lock() {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(why)) => return Err(why),
        }
        let cgroup = at.owner().ok().flatten().and_then(|owner| owner.cgroup);
        if let Some((parent, name)) = cgroup {
            Cgroup::find(&parent, &name)?.remove()?;
        }
        at.remove_live()
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|result| result).map_err(VmmError::io(seat, format!("tidying up in {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::vm::adopt;

    /// Whoever lists seats looks into folders that others are removing.
    #[tokio::test]
    async fn a_look_leaves_nothing_in_a_folder() {
        let at = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(at.path().join("run"));
        assert!(adopt("demo/1", &folder).await.unwrap().is_none());
        assert!(!folder.path().exists());
        std::fs::create_dir(folder.path()).unwrap();
        assert!(decided("demo/1", &folder).await.unwrap());
        assert!(adopt("demo/1", &folder).await.unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
