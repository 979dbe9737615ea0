//! Converted images on this host's disk, each converted once.
//!
//! ```text
//!   {folder}/
//!     {image digest}-{variant}/     an entry, complete from the moment it has this name
//!       rootfs.ext4
//!       image.json                  what it is; names are never parsed
//!       used                        empty; its time is when the entry was used last
//!       pins/{owner}                who needs the entry although no process uses it now
//!     .locks/{image digest}-{variant}   empty; locked exclusively while the entry is made or removed, shared while it is used
//!     .new-{…}/                     an entry that is being made by whoever has its lock
//!     .old-{…}/                     an entry that is being removed by whoever has its lock
//! ```
//!
//! Everything that one process must not do to another hangs on one lock per entry (`flock(2)`), which the kernel takes
//! back when a process dies, however it dies. What a dead process left of an entry has a name that begins with a dot and
//! a lock that nobody holds; the next one that looks removes it.
//!
//! The folder is its owner's alone: images hold password files and setuid programs, and whoever can open a lock can keep
//! others waiting. An entry that is no longer what its document says is made anew when it is asked for.

mod collect;
mod entry;
mod key;
mod lock;
mod verify;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use self::collect::{Collected, Keep, Policy};
pub use self::entry::{Entry, Owner, State};
pub use self::key::{EntryName, Key};
use self::lock::Lock;
pub use self::verify::{Check, Verdict};
use crate::ImageFile;
use crate::build::BuildError;

const ROOTFS: &str = "rootfs.ext4";
const IMAGE: &str = "image.json";
const USED: &str = "used";
const PINS: &str = "pins";
const LOCKS: &str = ".locks";

/// How often, and how far apart, an entry that cannot be used is looked at again while others have its lock.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A store.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// An entry that is in use: nobody removes it before this is dropped.
#[derive(Debug)]
pub struct InUse {
    name: EntryName,
    folder: PathBuf,
    /// What it is.
    pub image: ImageFile,
    /// Whether it was made just now, and not found.
    pub is_new: bool,
    _lock: Lock,
}

impl InUse {
    /// The name of the entry.
    #[must_use]
    pub fn name(&self) -> &EntryName {
        &self.name
    }

    /// The file system.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.folder.join(ROOTFS)
    }

    /// Its document.
    #[must_use]
    pub fn image_json(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    /// Keeps the entry for somebody when no process uses it any more.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn pin(&self, owner: &Owner) -> Result<(), StoreError> {
        let pins = self.folder.join(PINS);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&pins)?;
            File::create(pins.join(owner.as_str()))?.sync_all()?;
            sync(&pins)?;
            sync(&self.folder)
        };
        write().map_err(|why| StoreError::io(&pins, why))
    }
}

impl Store {
    /// The store in a folder, which is made when it is not there; what dead processes left in it goes away.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self { folder: folder.to_owned() };
        let locks = folder.join(LOCKS);
        make_private(&locks).map_err(|why| StoreError::io(&locks, why))?;
        match store.sweep() {
            // Who may only read it leaves the tidying to others.
            Err(StoreError::Io { why, .. }) if is_read_only(&why) => Ok(store),
            swept => swept.map(|()| store),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An entry, if it is there and whole.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, key: &Key) -> Result<Option<InUse>, StoreError> {
        self.named(&key.name())
    }

    /// The same by the entry's name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn named(&self, name: &EntryName) -> Result<Option<InUse>, StoreError> {
        if !self.is_there(name) {
            return Ok(None);
        }
        let lock = Lock::shared(&self.lock_path(name))?;
        self.found(name, lock, false)
    }

    /// An entry, made by `build` if it is not there: by one of all tasks and processes that ask for it. `build` is given
    /// the path of the file system to make and tells what it made. `waiting` is called once before waiting for another.
    ///
    /// # Errors
    /// When `build` fails, of which nothing is left then, or the store cannot be written.
    pub fn get_or_build<E: From<StoreError>>(
        &self,
        key: &Key,
        waiting: impl Fn(),
        build: impl FnOnce(&Path) -> Result<ImageFile, E>,
    ) -> Result<InUse, E> {
        let name = key.name();
        let path = self.lock_path(&name);
        let mut build = Some(build);
        let mut looks = 0;
        loop {
            let lock = match Lock::try_shared(&path)? {
                Some(lock) => lock,
                None => {
                    // One that is there is locked for a moment at most.
                    if !self.is_there(&name) {
                        waiting();
                    }
                    Lock::shared(&path)?
                }
            };
            let is_new = build.is_none();
            if let Some(found) = self.found(&name, lock, is_new)? {
                return Ok(found);
            }
            // Another may be here as well, or have made it already and use it: who waited for a lock of his own would
            // wait for as long as it is used.
            let Some(lock) = Lock::try_exclusive(&path)? else {
                looks += 1;
                if looks > LOOKS {
                    return Err(StoreError::Held(name).into());
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread that converts may wait; nobody awaits here"
                )]
                std::thread::sleep(BETWEEN_LOOKS);
                continue;
            };
            if self.is_there(&name) {
                continue;
            }
            let Some(build) = build.take() else {
                // It was made and is gone again, before it could be used once: that is no race any more.
                return Err(StoreError::Vanished(name).into());
            };
            self.make(&name, build)?;
            drop(lock);
        }
    }

    /// Lets an entry go that was kept for somebody. That it was not is no error.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn unpin(&self, name: &EntryName, owner: &Owner) -> Result<(), StoreError> {
        let pin = self.entry(name).join(PINS).join(owner.as_str());
        match fs::remove_file(&pin) {
            Err(why) if !matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(StoreError::io(&pin, why))
            }
            _ => Ok(()),
        }
    }

    fn entry(&self, name: &EntryName) -> PathBuf {
        self.folder.join(name.as_str())
    }

    /// Whether an entry is there and can be used, or only a newer version can.
    fn is_there(&self, name: &EntryName) -> bool {
        !matches!(self.document(name), Ok(None))
    }

    /// The document of an entry; nothing when there is none, or the entry is not what it says.
    fn document(&self, name: &EntryName) -> io::Result<Option<ImageFile>> {
        let folder = self.entry(name);
        let image = match ImageFile::read(&folder.join(IMAGE)) {
            Ok(image) => image,
            Err(why) if is_absent(&why) || is_garbled(&why) => return Ok(None),
            Err(why) => return Err(why),
        };
        match fs::metadata(folder.join(ROOTFS)) {
            Ok(file) if file.len() == image.size => Ok(Some(image)),
            Ok(_) => Ok(None),
            Err(why) if is_absent(&why) => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn lock_path(&self, name: &EntryName) -> PathBuf {
        self.folder.join(LOCKS).join(name.as_str())
    }

    fn hidden(&self, prefix: &str, name: &EntryName) -> PathBuf {
        self.folder.join(format!(".{prefix}-{name}"))
    }

    /// The entry under a shared lock; nothing when it is not there.
    fn found(&self, name: &EntryName, lock: Lock, is_new: bool) -> Result<Option<InUse>, StoreError> {
        let folder = self.entry(name);
        let document = self.document(name).map_err(|why| StoreError::io(&folder.join(IMAGE), why))?;
        let Some(image) = document else { return Ok(None) };
        let used = folder.join(USED);
        let touch = || File::create(&used)?.set_modified(SystemTime::now());
        // A store that can only be read, or is full, is one that can be used.
        match touch() {
            Err(why) if !is_read_only(&why) && why.kind() != io::ErrorKind::StorageFull => {
                Err(StoreError::io(&used, why))
            }
            _ => Ok(Some(InUse { name: name.clone(), folder, image, is_new, _lock: lock })),
        }
    }

    /// Makes an entry; its lock is held exclusively.
    fn make<E: From<StoreError>>(
        &self,
        name: &EntryName,
        build: impl FnOnce(&Path) -> Result<ImageFile, E>,
    ) -> Result<(), E> {
        let new = self.hidden("new", name);
        remove(&new)?;
        fs::create_dir(&new).map_err(|why| StoreError::io(&new, why))?;
        let made = build(&new.join(ROOTFS)).and_then(|image| Ok(self.complete(name, &new, &image)?));
        if made.is_err() {
            // The error that brought us here is the one that matters; what is left has the name of a leftover.
            let _ = remove(&new);
        }
        made
    }

    /// Gives a new entry its name once all of it is on the disk.
    fn complete(&self, name: &EntryName, new: &Path, image: &ImageFile) -> Result<(), StoreError> {
        let (entry, old) = (self.entry(name), self.hidden("old", name));
        let kept_for = entry::pins(&entry)?;
        remove(&old)?;
        let complete = || -> io::Result<()> {
            image.write(&new.join(IMAGE))?;
            File::create(new.join(USED))?;
            if !kept_for.is_empty() {
                let pins = new.join(PINS);
                fs::create_dir(&pins)?;
                for owner in &kept_for {
                    File::create(pins.join(owner.as_str()))?;
                }
                sync(&pins)?;
            }
            sync(new)?;
            // What has the name already cannot be used, or it would have been found.
            match fs::rename(&entry, &old) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            fs::rename(new, &entry)?;
            sync(&self.folder)
        };
        complete().map_err(|why| StoreError::io(&entry, why))?;
        remove(&old)
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a folder with all in it, or what else has its name; that it is not there is no error.
fn remove(folder: &Path) -> Result<(), StoreError> {
    let removed = match fs::remove_dir_all(folder) {
        Err(why) if why.kind() == io::ErrorKind::NotADirectory => fs::remove_file(folder),
        removed => removed,
    };
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(StoreError::io(folder, why)),
        _ => Ok(()),
    }
}

/// A folder in the store, which is the owner's alone when it is made now.
fn make_private(locks: &Path) -> io::Result<()> {
    let store = locks.parent().unwrap_or(locks);
    if let Some(above) = store.parent() {
        fs::create_dir_all(above)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(locks)
}

fn is_absent(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a document was read that is none: `serde_json` has these kinds for it.
fn is_garbled(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn is_read_only(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of it cannot be used.
    #[error("{}: {why}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// An entry was removed as soon as it was made.
    #[error("{0} was removed by somebody while it was being made")]
    Vanished(EntryName),
    /// An entry cannot be used, nor made anew while somebody uses what is left of it.
    #[error("{0} is damaged or gone, and a process uses it still: end that, and it is made anew")]
    Held(EntryName),
    /// The image could not be converted.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl StoreError {
    fn io(path: &Path, why: io::Error) -> Self {
        Self::Io { path: path.into(), why }
    }
}
