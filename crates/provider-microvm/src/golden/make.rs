//! Opens snapshots, and makes those that are not there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seats::SeatRef;

use super::known::{Coming, KEPT};
use super::{NoGolden, nobody};
use crate::core::{Core, blocking};
use crate::locks;
use crate::tell::Tell;
use crate::vmm::{Snapshot, SnapshotError, VmSpec, VmmError};

impl Core {
    /// Promises the memory that a snapshot takes when it is open, before it is opened or made: who comes meanwhile, with another kind or a seat, finds it taken.
    pub(super) async fn promise(&self, name: &str, vm: &VmSpec) -> Result<Coming<'_>, NoGolden> {
        let _turn = self.locks.turn(self.state.ledger_lock()).await.map_err(NoGolden::Turn)?;
        let left = self.memory_left_mib(vm.memory_mib).await.map_err(NoGolden::Books)?;
        if left < u64::from(vm.memory_mib) {
            return Err(NoGolden::Memory { needs: vm.memory_mib, left });
        }
        Ok(self.goldens.comes(name, vm.memory_mib))
    }

    pub(super) async fn open_or_make(
        &self,
        seat: &SeatRef,
        name: &str,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<Arc<Snapshot>, NoGolden> {
        let folder = self.state.snapshots().join(name);
        match open(&folder).await {
            Ok(snapshot) => return Ok(snapshot),
            Err(why) if folder.exists() => tracing::warn!(%why, "the snapshot is made anew"),
            Err(_) => {}
        }
        self.demand_room(vm)?;
        self.save_nobodys(seat, vm, image, &folder, tell).await?;
        tracing::info!(%seat, snapshot = name, "a snapshot was made for seats of this kind");
        let mut used = self.goldens.staying();
        used.push(name.to_owned());
        let (all, state) = (self.state.snapshots(), self.state.clone());
        let is_being_made = move |name: &str| locks::is_held(&state.snapshot_lock(name));
        // What stays takes room and is looked at again the next time.
        let pruned = blocking(move || prune(&all, &used, is_being_made)).await;
        if let Err(why) = pruned {
            tracing::warn!(%why, "old snapshots cannot be removed");
        }
        Ok(open(&folder).await?)
    }

    /// What a snapshot is written to is the disk of seats that live.
    fn demand_room(&self, vm: &VmSpec) -> Result<(), NoGolden> {
        let free = self.edges.host.free_bytes(&self.state.snapshots()).map_err(NoGolden::Room)? >> 20;
        let takes = u64::from(self.edges.machines.files_of_memory()) * u64::from(vm.memory_mib);
        let least = self.config.least_free_mib;
        if free < u64::from(least) + takes {
            return Err(NoGolden::Disk { takes, free, least });
        }
        Ok(())
    }

    /// Saves a guest that has nothing of the seat's, whose VM it is by chance. What fails leaves its disks to [`Core::clear`].
    async fn save_nobodys(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        image: &str,
        folder: &Path,
        tell: &Tell,
    ) -> Result<(), NoGolden> {
        let (of, of_seat) = (self.state.seat(seat), vm.clone());
        let nobodys = blocking(move || nobody::instead(&of, &of_seat)).await.map_err(NoGolden::Nobodys)?;
        self.save(seat, &nobodys, image, folder, tell).await?;
        let of = self.state.seat(seat);
        blocking(move || nobody::remove(&of)).await.map_err(NoGolden::Nobodys)
    }

    /// Boots a guest and saves it; once more when it had no timer, which all that go on from it would lack.
    async fn save(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        image: &str,
        folder: &Path,
        tell: &Tell,
    ) -> Result<(), NoGolden> {
        let once_more = "booting the guest that others go on from once more: it came up without a timer";
        for note in ["booting the guest that others go on from", once_more] {
            tell.note(note);
            let saved = self.edges.machines.save(vm, image, folder, self.config.start_timeout).await;
            let has_ended = matches!(saved, Err(VmmError::Ended { .. }));
            if !has_ended || !self.had_no_timer(seat).await {
                return Ok(saved?);
            }
            tracing::warn!(%seat, "a guest that was to be saved came up without a timer");
            self.edges.machines.clear(&vm.seat, &vm.folder).await?;
        }
        Err(NoGolden::NoTimer)
    }
}

impl Core {
    /// Removes what makings left that were killed, whether snapshots are used or not. What another service makes just now stays.
    pub(crate) async fn sweep_snapshots(&self) {
        let folder = self.state.snapshots();
        let unfinished = match blocking(move || unfinished(&folder)).await {
            Ok(unfinished) => unfinished,
            Err(why) => {
                tracing::warn!(%why, "what is left of snapshots that were not finished is not known");
                return;
            }
        };
        for (name, path) in unfinished {
            let lock = self.state.snapshot_lock(&name);
            if locks::is_held(&lock) {
                continue;
            }
            let removed = match self.locks.turn(lock).await {
                Ok(_turn) => blocking(move || super::remove(&path)).await,
                Err(why) => Err(why),
            };
            match removed {
                Ok(()) => tracing::info!(snapshot = name, "removed a snapshot that was not finished"),
                Err(why) => {
                    tracing::warn!(snapshot = name, %why, "a snapshot that was not finished cannot be removed");
                }
            }
        }
    }
}

/// Those that are not finished, or were being replaced, with the names that they would have.
fn unfinished(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some() {
            found.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path));
        }
    }
    Ok(found)
}

async fn open(folder: &Path) -> Result<Arc<Snapshot>, SnapshotError> {
    let at = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || Snapshot::open(&at)).await;
    let broke = |why| SnapshotError::Incomplete { folder: folder.to_owned(), why: format!("{why}") };
    opened.map_err(broke)?.map(Arc::new)
}

/// Removes all but the newest, those that are used, since seats of Firecracker go on from files that still have their names, and those that others are making.
fn prune(folder: &Path, used: &[String], is_being_made: impl Fn(&str) -> bool) -> std::io::Result<()> {
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What is being written has more behind its name.
        let name = entry.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !used.contains(&name) && !is_being_made(&name) {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    let surplus = others.len().saturating_sub(KEPT.saturating_sub(used.len()));
    others.drain(..surplus).try_for_each(|(_, path)| std::fs::remove_dir_all(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_being_made_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c.new", "d.new", "e", "f"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let used = ["a", "e", "f", "x"].map(str::to_owned);
        prune(folder.path(), &used, |name| name == "c").unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "c.new", "e", "f"]);
    }
}
