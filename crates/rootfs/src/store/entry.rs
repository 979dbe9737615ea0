//! What is in a store.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use super::lock::Lock;
use super::{EntryName, IMAGE, PINS, ROOTFS, Store, StoreError, USED};
use crate::ImageFile;

/// The longest name of an owner, in bytes.
const LONGEST_OWNER: usize = 128;

/// Who needs an entry although no process uses it: the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(Box<str>);

impl Owner {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = BadOwner;

    fn from_str(text: &str) -> Result<Self, BadOwner> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty()
            || text.len() > LONGEST_OWNER
            || text.starts_with('.')
            || !text.bytes().all(is_plain)
        {
            return Err(BadOwner);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an owner is 1 to {LONGEST_OWNER} letters, digits, dashes, underscores and dots, and begins with no dot"
)]
pub struct BadOwner;

/// An entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: EntryName,
    /// What it is.
    pub state: State,
    /// Bytes that it takes of the disk.
    pub allocated: u64,
    /// When it was made.
    pub made: SystemTime,
    /// When it was used last.
    pub used: SystemTime,
    /// Whether a process uses it now.
    pub is_in_use: bool,
    /// For whom it is kept.
    pub pins: Vec<Owner>,
}

/// Whether an entry can be used.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It can.
    Whole(Box<ImageFile>),
    /// A newer version of this program made it, and only that can use it.
    Newer(String),
    /// It cannot, and why.
    Damaged(String),
}

impl Entry {
    /// Whether somebody needs it.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.is_in_use || !self.pins.is_empty()
    }
}

impl Store {
    /// What is there, those used last first.
    ///
    /// # Errors
    /// When the store cannot be read; an entry that cannot be is listed as damaged.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let fail = |why| StoreError::io(&self.folder, why);
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.folder).map_err(fail)? {
            let name = found.map_err(fail)?.file_name();
            // What is not ours is left alone.
            let Some(Ok(name)) = name.to_str().map(str::parse) else { continue };
            entries.extend(self.look(&name)?);
        }
        entries.sort_by(|one, other| other.used.cmp(&one.used).then_with(|| one.name.cmp(&other.name)));
        Ok(entries)
    }

    /// An entry as it is; nothing when it went away.
    pub(super) fn look(&self, name: &EntryName) -> Result<Option<Entry>, StoreError> {
        if self.entry(name).symlink_metadata().is_err() {
            return Ok(None);
        }
        let is_in_use = Lock::try_exclusive(&self.lock_path(name))?.is_none();
        self.look_at(name, is_in_use)
    }

    /// An entry as it is, whose lock is known.
    pub(super) fn look_at(&self, name: &EntryName, is_in_use: bool) -> Result<Option<Entry>, StoreError> {
        let folder = self.entry(name);
        let Ok(about) = folder.symlink_metadata() else { return Ok(None) };
        let changed = |path: PathBuf| fs::metadata(path).and_then(|about| about.modified()).ok();
        let made = changed(folder.join(IMAGE)).or(about.modified().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
        let (state, allocated) =
            match (ImageFile::read(&folder.join(IMAGE)), fs::metadata(folder.join(ROOTFS))) {
                (Ok(image), Ok(file)) if image.size == file.len() => {
                    (State::Whole(Box::new(image)), file.blocks())
                }
                (Ok(image), Ok(file)) => {
                    let why = format!("{ROOTFS} has {} bytes and should have {}", file.len(), image.size);
                    (State::Damaged(why), file.blocks())
                }
                (Err(why), file) if why.kind() == io::ErrorKind::Unsupported => {
                    (State::Newer(format!("{IMAGE}: {why}")), file.map_or(0, |file| file.blocks()))
                }
                (Err(why), file) => {
                    (State::Damaged(format!("{IMAGE}: {why}")), file.map_or(0, |file| file.blocks()))
                }
                (_, Err(why)) => (State::Damaged(format!("{ROOTFS}: {why}")), 0),
            };
        let used = changed(folder.join(USED)).unwrap_or(made);
        // Blocks of stat(2) have 512 bytes.
        let allocated = allocated * 512;
        Ok(Some(Entry { name: name.clone(), state, allocated, made, used, is_in_use, pins: pins(&folder)? }))
    }
}

pub(super) fn pins(folder: &std::path::Path) -> Result<Vec<Owner>, StoreError> {
    let path = folder.join(PINS);
    let found = match fs::read_dir(&path) {
        Ok(found) => found,
        Err(why) if super::is_absent(&why) => return Ok(Vec::new()),
        Err(why) => return Err(StoreError::io(&path, why)),
    };
    let mut pins = Vec::new();
    for pin in found {
        let name = pin.map_err(|why| StoreError::io(&path, why))?.file_name();
        pins.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    pins.sort();
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rust-101.7", true)]
    #[case("a_b", true)]
    #[case("", false)]
    #[case("..", false)]
    #[case(".hidden", false)]
    #[case("a/b", false)]
    #[case("a b", false)]
    fn owners_are_names_of_files(#[case] text: &str, #[case] is_owner: bool) {
        assert_eq!(text.parse::<Owner>().is_ok(), is_owner);
    }
}
