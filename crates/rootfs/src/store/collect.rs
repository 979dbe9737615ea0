//! What nobody needs goes away.

use std::fs;
use std::time::{Duration, SystemTime};

use super::lock::Lock;
use super::{Entry, EntryName, LOCKS, Store, StoreError, remove, sync};
use crate::store::State;

/// What is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What was not used for so long.
    pub unused_for: Option<Duration>,
    /// What was used longest ago, until the rest takes no more bytes of the disk than this.
    pub keep_bytes: Option<u64>,
    /// Nothing; it is only said what would.
    pub dry_run: bool,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// Entries that are gone, or would be.
    pub removed: Vec<Entry>,
    /// Bytes of the disk that are free again.
    pub freed: u64,
    /// Entries that are still there, and why.
    pub kept: Vec<(Entry, Keep)>,
}

/// Why an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A process uses it.
    InUse,
    /// It is kept for somebody.
    Pinned,
    /// It was used not long ago, and there is room.
    Wanted,
}

impl Store {
    /// Removes what the policy says, never what is in use or kept for somebody. Damaged entries go first.
    ///
    /// # Errors
    /// When the store cannot be read, or an entry cannot be removed.
    pub fn collect(&self, policy: &Policy) -> Result<Collected, StoreError> {
        self.sweep()?;
        let entries = self.list()?;
        let mut left: u64 = entries.iter().map(|entry| entry.allocated).sum();
        let mut collected = Collected::default();
        let now = SystemTime::now();
        // Those used longest ago first.
        for entry in entries.into_iter().rev() {
            let unused = now.duration_since(entry.used).unwrap_or_default();
            let is_old = policy.unused_for.is_some_and(|limit| unused >= limit);
            let is_too_much = policy.keep_bytes.is_some_and(|limit| left > limit);
            let is_damaged = matches!(entry.state, State::Damaged(_));
            let keep = if entry.is_in_use {
                Some(Keep::InUse)
            } else if !entry.pins.is_empty() {
                Some(Keep::Pinned)
            } else if !(is_old || is_too_much || is_damaged) {
                Some(Keep::Wanted)
            } else if policy.dry_run || self.remove_if(&entry.name, |found| found.used == entry.used)? {
                None
            } else {
                Some(Keep::InUse)
            };
            match keep {
                Some(keep) => collected.kept.push((entry, keep)),
                None => {
                    left = left.saturating_sub(entry.allocated);
                    collected.freed += entry.allocated;
                    collected.removed.push(entry);
                }
            }
        }
        Ok(collected)
    }

    /// Removes an entry unless somebody needs it; tells whether it is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &EntryName) -> Result<bool, StoreError> {
        self.remove_if(name, |_| true)
    }

    /// Removes an entry that nobody needs if it still is what was decided on.
    fn remove_if(&self, name: &EntryName, is_meant: impl FnOnce(&Entry) -> bool) -> Result<bool, StoreError> {
        let Some(lock) = Lock::try_exclusive(&self.lock_path(name))? else { return Ok(false) };
        // Once more, under the lock: it may have been used or kept for somebody since it was looked at.
        if self.look_at(name, false)?.is_some_and(|found| found.is_needed() || !is_meant(&found)) {
            return Ok(false);
        }
        let (entry, old) = (self.entry(name), self.hidden("old", name));
        remove(&old)?;
        if entry.symlink_metadata().is_ok() {
            fs::rename(&entry, &old).map_err(|why| StoreError::io(&entry, why))?;
            sync(&self.folder).map_err(|why| StoreError::io(&self.folder, why))?;
            remove(&old)?;
        }
        lock.remove()?;
        Ok(true)
    }

    /// Removes what dead processes left.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let fail = |why| StoreError::io(&self.folder, why);
        for found in fs::read_dir(&self.folder).map_err(fail)? {
            let found = found.map_err(fail)?.file_name();
            let Some(hidden) = found.to_str() else { continue };
            let Some(name) = hidden.strip_prefix(".new-").or_else(|| hidden.strip_prefix(".old-")) else {
                continue;
            };
            let Ok(name) = name.parse::<EntryName>() else { continue };
            if let Some(_lock) = Lock::try_exclusive(&self.lock_path(&name))? {
                remove(&self.folder.join(hidden))?;
            }
        }
        self.sweep_locks()
    }

    /// Locks of entries that are not there.
    fn sweep_locks(&self) -> Result<(), StoreError> {
        let locks = self.folder.join(LOCKS);
        let fail = |why| StoreError::io(&locks, why);
        for found in fs::read_dir(&locks).map_err(fail)? {
            let found = found.map_err(fail)?.file_name();
            let Some(Ok(name)) = found.to_str().map(str::parse::<EntryName>) else { continue };
            if self.is_there(&name) {
                continue;
            }
            if let Some(lock) = Lock::try_exclusive(&self.lock_path(&name))?
                && !self.entry(&name).exists()
            {
                lock.remove()?;
            }
        }
        Ok(())
    }
}
