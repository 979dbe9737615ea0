//! Which snapshots one provider knows, and how they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::NoGolden;
use crate::vmm::Snapshot;

/// How many are kept.
pub(super) const KEPT: usize = 4;
/// Of how many it is remembered that they could not be made.
const TOLD: usize = 64;
/// For how long no other try is made after one that failed: every seat of a class would wait for it again.
const AGAIN: Duration = Duration::from_secs(600);

/// The snapshots of one provider.
#[derive(Debug, Default)]
pub(crate) struct Goldens(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: Vec<Golden>,
    /// Those that are opened or made now, and the memory in MiB that each takes as soon as it is open.
    coming: BTreeMap<String, u32>,
}

/// Memory that is promised to a snapshot until it is known how it is, or this is dropped.
#[derive(Debug)]
pub(super) struct Coming<'a>(&'a Goldens, String);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.lock().coming.remove(&self.1);
    }
}

#[derive(Debug)]
struct Golden {
    name: String,
    state: State,
    /// Whether the last seat could not go on from it.
    was_refused: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Open(Arc<Snapshot>),
    /// There is none, since then.
    Failed(Arc<str>, Instant),
}

impl Golden {
    /// The snapshot, if no seat goes on from it: neither one of this service, which holds it, nor one that has it in its record.
    fn idle(&self, is_used: impl Fn(&str) -> bool) -> Option<&Snapshot> {
        match &self.state {
            State::Open(snapshot) if Arc::strong_count(snapshot) == 1 && !is_used(snapshot.opening()) => {
                Some(snapshot)
            }
            _ => None,
        }
    }
}

impl Goldens {
    /// The memory that is taken, in MiB, by opening, or by the name of a snapshot that is not open yet.
    pub(crate) fn openings(&self) -> BTreeMap<String, u32> {
        let known = self.lock();
        let coming = known.coming.iter().map(|(name, mib)| (name.clone(), *mib));
        let open = known.all.iter().filter_map(|golden| match &golden.state {
            State::Open(snapshot) => Some((snapshot.opening().to_owned(), snapshot.traits().memory_mib)),
            State::Failed(..) => None,
        });
        open.chain(coming).collect()
    }

    /// The memory in MiB of those that could be closed ([`Goldens::close_idle`]).
    pub(crate) fn idle_mib(&self, is_used: impl Fn(&str) -> bool) -> u64 {
        let known = self.lock();
        let idle = known.all.iter().filter_map(|golden| golden.idle(&is_used));
        idle.map(|snapshot| u64::from(snapshot.traits().memory_mib)).sum()
    }

    /// Closes the one that was not used for longest, of those that nobody holds and that are not in use by this; tells its opening.
    pub(crate) fn close_idle(&self, is_used: impl Fn(&str) -> bool) -> Option<String> {
        let mut known = self.lock();
        let at = known.all.iter().position(|golden| golden.idle(&is_used).is_some())?;
        match known.all.remove(at).state {
            State::Open(snapshot) => Some(snapshot.opening().to_owned()),
            State::Failed(..) => None,
        }
    }

    /// Promises memory to one that is to be opened or made.
    pub(super) fn comes(&self, name: &str, memory_mib: u32) -> Coming<'_> {
        self.lock().coming.insert(name.to_owned(), memory_mib);
        Coming(self, name.to_owned())
    }

    /// Notes that a seat could not go on from one; whether another could not before.
    pub(super) fn is_refused_again(&self, name: &str) -> bool {
        let mut known = self.lock();
        let golden = known.all.iter_mut().find(|golden| golden.name == name);
        // One that is not known any more would be opened anew, and be another.
        golden.is_some_and(|golden| std::mem::replace(&mut golden.was_refused, true))
    }

    /// Notes that a seat goes on from one.
    pub(crate) fn serves(&self, name: &str) {
        let mut known = self.lock();
        let golden = known.all.iter_mut().filter(|golden| golden.name == name);
        golden.for_each(|golden| golden.was_refused = false);
    }

    /// The names of those that stay open when there is one more.
    pub(super) fn staying(&self) -> Vec<String> {
        let known = self.lock();
        let open = known.all.iter().rev().filter(|golden| matches!(golden.state, State::Open(_)));
        open.take(KEPT - 1).map(|golden| golden.name.clone()).collect()
    }

    /// What is known of one; nothing when it has to be looked for.
    pub(super) fn known(&self, name: &str) -> Option<Result<Arc<Snapshot>, NoGolden>> {
        let Known { all, .. } = &mut *self.lock();
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

    pub(super) fn set(&self, name: &str, state: State) {
        let Known { all, coming } = &mut *self.lock();
        coming.remove(name);
        all.retain(|golden| golden.name != name);
        all.push(Golden { name: name.to_owned(), state, was_refused: false });
        // What could not be made takes nothing.
        keep(all, KEPT, |state| matches!(state, State::Open(_)));
        keep(all, TOLD, |state| matches!(state, State::Failed(..)));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the last so many of one sort.
fn keep(all: &mut Vec<Golden>, most: usize, is_of_it: impl Fn(&State) -> bool) {
    let mut surplus = all.iter().filter(|golden| is_of_it(&golden.state)).count().saturating_sub(most);
    all.retain(|golden| {
        let goes = surplus > 0 && is_of_it(&golden.state);
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::Traits;
    use crate::vmm::snapshot::{Memory, write};

    #[test]
    fn one_seats_refusal_is_its_own_and_the_second_in_a_row_is_the_snapshots() {
        let goldens = Goldens::default();
        let made = || goldens.set("aa", State::Failed("on purpose".into(), Instant::now()));
        made();
        assert!(!goldens.is_refused_again("aa"));
        assert!(goldens.is_refused_again("aa"));
        made();
        assert!(!goldens.is_refused_again("aa"), "it is another one");
        goldens.serves("aa");
        assert!(!goldens.is_refused_again("aa"), "another seat could");
        assert!(goldens.is_refused_again("aa"));
        assert!(!goldens.is_refused_again("bb"), "nothing is known of it");
    }

    #[test]
    fn what_cannot_be_made_is_remembered_beside_what_is_open_and_not_for_ever() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("open");
        let unfinished = write(&folder).unwrap();
        unfinished.finish(&Memory::empty(1).unwrap(), Traits::sample()).unwrap();
        let goldens = Goldens::default();
        goldens.set("open", State::Open(Arc::new(Snapshot::open(&folder).unwrap())));
        for number in 0..=TOLD {
            goldens.set(&number.to_string(), State::Failed("on purpose".into(), Instant::now()));
        }
        assert!(goldens.known("open").unwrap().is_ok());
        assert!(goldens.known("0").is_none());
        assert!(goldens.known("1").unwrap().is_err());
    }
}
