//! Seats that go on from a snapshot instead of booting.
//!
//! ```text
//!   the snapshot for this VM ──► open already ──► on the disk ──► made: the seat's own VM is booted until its agent waits,
//!             │                        └──────────────┴──────────── saved and ended, in the seat's own folder
//!             ├── whole, and fits ──► the seat's VM goes on from it, and is configured as one that has booted
//!             └── anything fails ───► the seat's VM is booted, and why is told
//! ```
//!
//! A snapshot is called after all that it depends on, so one of another kernel, size or version of the monitor is never even looked at. It is made by the
//! first seat that could use it, while the others wait for that; it has nothing of that seat in it, since a guest knows nothing before it is configured.
//! What belongs to the making, the record of the seat names: a service that is killed in the middle leaves nothing else than one that is killed while a seat boots, but for
//! a folder that is not finished and has another name.
//!
//! An open snapshot takes as much of the host's memory as one guest has, which is counted as promised for as long as this service has it open or a seat goes on from it, which
//! the seat's record says; the seats' own memory is counted in full, since it may all become their own. The last four that were opened are kept, on the disk and in memory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seats::{ProviderError, SeatRef, Stage};

use crate::core::{Core, blocking};
use crate::edges::Machine;
use crate::images::Ready;
use crate::locks;
use crate::records::Restored;
use crate::tell::Tell;
use crate::vmm::{MacAddress, Snapshot, SnapshotError, VmSpec, VmmError};
use crate::{SnapshotUse, fail};

/// How many are kept.
const KEPT: usize = 4;
/// For how long no other try is made after one that failed: every seat of a class would wait for it again.
const AGAIN: Duration = Duration::from_secs(600);

/// The hardware address in a snapshot; a seat has its own from its configuration on.
const NOBODY: MacAddress = MacAddress([2, 0, 0, 0, 0, 0]);

/// The snapshots of one provider.
#[derive(Debug, Default)]
pub(crate) struct Goldens(Mutex<Vec<Golden>>);

#[derive(Debug)]
struct Golden {
    name: String,
    state: State,
    /// Whether a seat could not go on from it.
    was_refused: bool,
}

#[derive(Debug)]
enum State {
    Open(Arc<Snapshot>),
    /// There is none, since then.
    Failed(Arc<str>, Instant),
}

/// Why a seat is booted.
#[derive(Debug, thiserror::Error)]
enum NoGolden {
    #[error(transparent)]
    Vmm(#[from] VmmError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the guest did not wait for its host within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the guest came up without a timer, twice: the host has too much to do")]
    NoTimer,
    #[error("{0}")]
    Before(Arc<str>),
    #[error("it cannot be waited for: {0}")]
    Turn(std::io::Error),
    #[error("reading the records: {0}")]
    Books(std::io::Error),
    #[error("a snapshot needs {needs} MiB of the host's memory, and {left} MiB are not promised to anybody")]
    Memory { needs: u32, left: u64 },
}

impl Goldens {
    /// The memory that is taken, in MiB, by opening.
    pub(crate) fn openings(&self) -> Vec<(String, u32)> {
        let all = self.all();
        let open = all.iter().filter_map(|golden| match &golden.state {
            State::Open(snapshot) => Some((snapshot.opening().to_owned(), snapshot.traits().memory_mib)),
            State::Failed(..) => None,
        });
        open.collect()
    }

    /// Notes that a seat could not go on from one; whether another could not before.
    fn is_refused_again(&self, name: &str) -> bool {
        let mut all = self.all();
        let golden = all.iter_mut().find(|golden| golden.name == name);
        golden.is_none_or(|golden| std::mem::replace(&mut golden.was_refused, true))
    }

    /// The names of those that stay open when there is one more.
    fn staying(&self) -> Vec<String> {
        let all = self.all();
        let open = all.iter().rev().filter(|golden| matches!(golden.state, State::Open(_)));
        open.take(KEPT - 1).map(|golden| golden.name.clone()).collect()
    }

    /// What is known of one; nothing when it has to be looked for.
    fn known(&self, name: &str) -> Option<Result<Arc<Snapshot>, NoGolden>> {
        let mut all = self.all();
        all.retain(|golden| !matches!(&golden.state, State::Failed(_, since) if since.elapsed() > AGAIN));
        let at = all.iter().position(|golden| golden.name == name)?;
        // Those that are used stay.
        let golden = all.remove(at);
        let known = match &golden.state {
            State::Open(snapshot) => Ok(snapshot.clone()),
            State::Failed(why, _) => Err(NoGolden::Before(why.clone())),
        };
        all.push(golden);
        Some(known)
    }

    fn set(&self, name: &str, state: State) {
        let mut all = self.all();
        all.retain(|golden| golden.name != name);
        all.push(Golden { name: name.to_owned(), state, was_refused: false });
        let surplus = all.len().saturating_sub(KEPT);
        all.drain(..surplus);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Golden>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Starts the VM of a seat, from a snapshot where that can be; tells which way it came up.
    pub(crate) async fn start_machine(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        ready: &Ready,
        tell: &Tell,
    ) -> Result<(Arc<dyn Machine>, Option<Restored>), ProviderError> {
        let mut why_not = None;
        if self.config.snapshot == SnapshotUse::Auto {
            match self.go_on(seat, vm, &ready.entry().to_string(), tell).await {
                Ok((machine, from)) => {
                    tracing::info!(%seat, snapshot = from.snapshot, "the seat goes on from a snapshot");
                    return Ok((machine, Some(from)));
                }
                Err(why) => {
                    tracing::warn!(%seat, %why, "the seat is booted, and not restored from a snapshot");
                    // What the making of one may have left in the folder.
                    self.clear(seat).await?;
                    why_not = Some(why.to_string());
                }
            }
        }
        tell.stage(Stage::Create);
        let machine = self.edges.machines.start(vm).await.map_err(fail::vmm(seat, Stage::Create))?;
        tell.stage(Stage::Start);
        if let Some(why) = why_not {
            tell.note(format!("booted: {why}"));
        }
        Ok((machine, None))
    }

    async fn go_on(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<(Arc<dyn Machine>, Restored), NoGolden> {
        // Told also when it comes to nothing at once.
        tell.stage(Stage::Restore);
        let name = self.edges.machines.snapshot_name(vm, image).await?;
        let golden = self.golden(seat, &name, vm, image, tell).await?;
        let restored = self.edges.machines.restore(vm, image, &golden).await;
        if let Err(why @ (VmmError::Ended { .. } | VmmError::Snapshot { .. })) = &restored
            && self.goldens.is_refused_again(&name)
        {
            // The monitor does not understand it, or so it seems by the second seat: the next ones are not to find that out, too, and another one is made
            // after a while. The first may have had a reason of its own.
            self.goldens.set(&name, State::Failed(why.to_string().into(), Instant::now()));
            let folder = golden.folder().to_owned();
            let removed = blocking(move || std::fs::remove_dir_all(folder)).await;
            if let Err(why) = removed {
                tracing::warn!(snapshot = name, %why, "a snapshot that is no good cannot be removed");
            }
        }
        let (opening, memory_mib) = (golden.opening().to_owned(), golden.traits().memory_mib);
        Ok((restored?, Restored { snapshot: name, opening, memory_mib }))
    }

    /// The snapshot of this name: the one that is open, or on the disk, or a new one.
    async fn golden(
        &self,
        seat: &SeatRef,
        name: &str,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<Arc<Snapshot>, NoGolden> {
        if let Some(known) = self.goldens.known(name) {
            return known;
        }
        tell.stage(Stage::Snapshot);
        let _turn = self.locks.turn(self.state.snapshot_lock(name)).await.map_err(NoGolden::Turn)?;
        // Whoever had the turn before has made it, or could not.
        let golden = match self.goldens.known(name) {
            Some(known) => known,
            None => {
                let made = self.open_or_make(seat, name, vm, image, tell).await;
                let state = match &made {
                    Ok(snapshot) => State::Open(snapshot.clone()),
                    Err(why) => State::Failed(why.to_string().into(), Instant::now()),
                };
                self.goldens.set(name, state);
                made
            }
        };
        tell.stage(Stage::Restore);
        golden
    }

    async fn open_or_make(
        &self,
        seat: &SeatRef,
        name: &str,
        vm: &VmSpec,
        image: &str,
        tell: &Tell,
    ) -> Result<Arc<Snapshot>, NoGolden> {
        let left = self.memory_left_mib().await.map_err(NoGolden::Books)?;
        if left < u64::from(vm.memory_mib) {
            return Err(NoGolden::Memory { needs: vm.memory_mib, left });
        }
        let folder = self.state.snapshots().join(name);
        match open(&folder).await {
            Ok(snapshot) => return Ok(snapshot),
            Err(why) if folder.exists() => tracing::warn!(%why, "the snapshot is made anew"),
            Err(_) => {}
        }
        // Whose it is by chance.
        let mut nobodys = vm.clone();
        nobodys.nics.iter_mut().for_each(|nic| nic.mac = NOBODY);
        self.save(seat, &nobodys, image, &folder, tell).await?;
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

    /// Boots a guest and saves it; once more when it had no timer, which all that go on from it would lack.
    async fn save(
        &self,
        seat: &SeatRef,
        vm: &VmSpec,
        image: &str,
        folder: &Path,
        tell: &Tell,
    ) -> Result<(), NoGolden> {
        let within = self.config.start_timeout;
        let once_more = "booting the guest that others go on from once more: it came up without a timer";
        for note in ["booting the guest that others go on from", once_more] {
            tell.note(note);
            let saved = tokio::time::timeout(within, self.edges.machines.save(vm, image, folder)).await;
            let saved = saved.map_err(|_| NoGolden::Slow(within))?;
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
    fn one_seats_refusal_is_its_own_and_the_seconds_is_the_snapshots() {
        let goldens = Goldens::default();
        let made = || goldens.set("aa", State::Failed("on purpose".into(), Instant::now()));
        made();
        assert!(!goldens.is_refused_again("aa"));
        assert!(goldens.is_refused_again("aa"));
        made();
        assert!(!goldens.is_refused_again("aa"), "it is another one");
        assert!(goldens.is_refused_again("bb"), "one that is not kept is made anew");
    }

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
