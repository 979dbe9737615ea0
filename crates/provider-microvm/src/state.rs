//! Where everything of microVM seats is on the host's disk.
//!
//! ```text
//!   {state_dir}/
//!     images/                            converted images (rootfs::store)
//!     microvm/                           may be passed through by the users of monitors, who need its boot folder
//!       boot/                            the prepared kernel (guest-boot)
//!       instance                         a random number: whose the kernel's objects are
//!       lock                             held by the service that runs
//!       locks/                           one file for each operation under way (locks)
//!       names/                           what the names of images mean (images::names)
//!       snapshots/{name}/                what seats go on from instead of booting (golden, vmm::snapshot)
//!       workshops/{workshop}/
//!         workshop.json                  the network: written before it, removed after it
//!         {seat}/
//!           seat.json                    written before anything of the seat, removed after everything
//!           scratch.img  data.img        the seat's disks
//!           nobody/                      disks without content, of the guest that others go on from, while it is made
//!           console.log  console.log.1
//!           run/                         of the VM (vmm::folder)
//! ```
//!
//! A folder without its record, and with something in it, is not ours.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use seats::{Scope, SeatBound, SeatRef, WorkshopId};

use crate::ImageNames;
use crate::vmm::RunFolder;

/// How often something may be put into a folder while it is removed.
const LATE: usize = 8;

/// The state of one instance of the service.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    state_dir: PathBuf,
    folder: PathBuf,
    images: PathBuf,
    instance: InstanceId,
}

/// What tells the kernel's objects of one state folder from those of another: 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceId(Box<str>);

impl InstanceId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, where there is no room for all.
    pub(crate) fn short(&self) -> &str {
        &self.0[..8]
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let is_one =
            text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_one.then(|| Self(text.into()))
    }
}

/// Proof that no other service uses the state folder; the kernel takes it back when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct ServiceLock(#[expect(dead_code, reason = "the lock is the open file's")] File);

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("{}: {why}; the service's user must be able to write there", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Another service runs over it.
    #[error(
        "{} is used by another service: end that, or give this one another state_dir", .path.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Its number is damaged. A new one would make everything that is there somebody else's.
    #[error(
        "{} does not hold 32 hex digits: restore it from a backup; without it no seat's network can be recognized",
        .path.display()
    )]
    Instance {
        /// The file.
        path: PathBuf,
    },
}

impl StateError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |why| Self::Io { path, why }
    }
}

impl StateDir {
    /// Makes what is not there yet. Any number of providers may do that.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, StateError> {
        let folder = state_dir.join("microvm");
        fs::create_dir_all(&folder).map_err(StateError::io(&folder))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).map_err(StateError::io(&folder))?;
        for private in ["workshops", "locks", "snapshots"] {
            let path = folder.join(private);
            private_folder(&path).map_err(StateError::io(&path))?;
        }
        let instance = instance(&folder)?;
        Ok(Self { state_dir: state_dir.to_owned(), folder, images: state_dir.join("images"), instance })
    }

    /// Takes the folder for this service.
    pub(crate) fn lock(&self) -> Result<ServiceLock, StateError> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StateError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(ServiceLock(file)),
            Err(TryLockError::WouldBlock) => Err(StateError::Taken { path: self.folder.clone() }),
            Err(TryLockError::Error(why)) => Err(StateError::io(&path)(why)),
        }
    }

    pub(crate) fn instance(&self) -> &InstanceId {
        &self.instance
    }

    pub(crate) fn images(&self) -> &Path {
        &self.images
    }

    pub(crate) fn names(&self) -> ImageNames {
        ImageNames::of(&self.state_dir)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn workshop(&self, workshop: &WorkshopId) -> WorkshopFolder {
        WorkshopFolder(self.folder.join("workshops").join(workshop.as_str()))
    }

    pub(crate) fn seat(&self, seat: &SeatRef) -> SeatFolder {
        SeatFolder(self.workshop(&seat.workshop).0.join(seat.seat.to_string()))
    }

    pub(crate) fn seat_lock(&self, seat: &SeatRef) -> PathBuf {
        self.folder.join("locks").join(format!("{}.{}", seat.workshop, seat.seat))
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.folder.join("snapshots")
    }

    /// Held while a snapshot is opened or made.
    pub(crate) fn snapshot_lock(&self, name: &str) -> PathBuf {
        self.folder.join("locks").join(format!(".snapshot.{name}"))
    }

    /// The files of turns that are held, or were by a service that was killed.
    pub(crate) fn locks(&self) -> io::Result<Vec<PathBuf>> {
        let folder = self.folder.join("locks");
        Ok(names(&folder)?.into_iter().map(|name| folder.join(name)).collect())
    }

    /// Held while addresses, numbers and memory are given out.
    pub(crate) fn ledger_lock(&self) -> PathBuf {
        self.folder.join("locks/.ledger")
    }

    /// The workshops that have a folder, in order.
    pub(crate) fn workshops(&self) -> io::Result<Vec<WorkshopId>> {
        let mut found: Vec<WorkshopId> =
            names(&self.folder.join("workshops"))?.iter().filter_map(|name| name.parse().ok()).collect();
        found.sort();
        Ok(found)
    }

    /// The seats in scope that have a folder, in order. What has another name is not ours.
    pub(crate) fn seats(&self, scope: &Scope) -> io::Result<Vec<SeatRef>> {
        let workshops = match scope {
            Scope::All => self.workshops()?,
            Scope::Workshop(workshop) => vec![workshop.clone()],
        };
        let mut found = Vec::new();
        for workshop in workshops {
            for name in names(&self.workshop(&workshop).0)? {
                if let Ok(seat) = SeatBound::widest().parse(&name) {
                    found.push(SeatRef::new(workshop.clone(), seat));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// The folder of a workshop.
#[derive(Clone, Debug)]
pub(crate) struct WorkshopFolder(PathBuf);

impl WorkshopFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("workshop.json")
    }

    pub(crate) fn make(&self) -> io::Result<()> {
        private_folder(&self.0)
    }

    /// Removes the folder, unless something is in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_empty(&self.0)
    }
}

/// The folder of a seat.
#[derive(Clone, Debug)]
pub(crate) struct SeatFolder(PathBuf);

impl SeatFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("seat.json")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.join("scratch.img")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data.img")
    }

    pub(crate) fn nobodys(&self) -> PathBuf {
        self.0.join("nobody")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.0.join("console.log")
    }

    pub(crate) fn run(&self) -> RunFolder {
        RunFolder::new(self.0.join("run"))
    }

    pub(crate) fn make(&self) -> io::Result<()> {
        private_folder(&self.0)
    }

    /// What is in it although it has no record: then it is somebody else's.
    pub(crate) fn strangers(&self) -> io::Result<Vec<String>> {
        let found = names(&self.0)?;
        Ok(found.into_iter().filter(|name| name != crate::records::UNFINISHED_SEAT).collect())
    }

    /// Removes everything but the record and, when they are to stay, the data.
    pub(crate) fn empty(&self, keep_data: bool) -> io::Result<()> {
        for name in names(&self.0)? {
            let is_kept = name == "seat.json" || (keep_data && name == "data.img");
            if !is_kept {
                remove(&self.0.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the folder, unless something is in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_empty(&self.0)
    }
}

/// The number in the folder, made once by whoever comes first.
fn instance(folder: &Path) -> Result<InstanceId, StateError> {
    let path = folder.join("instance");
    let read = || match fs::read_to_string(&path) {
        Ok(text) => {
            InstanceId::read(&text).map(Some).ok_or_else(|| StateError::Instance { path: path.clone() })
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(StateError::io(&path)(why)),
    };
    if let Some(known) = read()? {
        return Ok(known);
    }
    let fresh = crate::random::hex::<16>().map_err(StateError::io(&path))?;
    let new = folder.join(format!(".instance.{fresh}"));
    let made = fs::write(&new, format!("{fresh}\n")).and_then(|()| File::open(&new)?.sync_all());
    // A link is made only where nothing has the name yet.
    let linked = made.and_then(|()| fs::hard_link(&new, &path));
    let _ = fs::remove_file(&new);
    match linked {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(StateError::io(&path)(why)),
        _ => {}
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StateError::io(folder))?;
    read()?.ok_or_else(|| StateError::io(&path)(io::ErrorKind::NotFound.into()))
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The names in a folder; none when there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Removes a file, or a folder with all in it. That it is not there is success.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => remove_folder(path),
        Ok(_) => fs::remove_file(path),
        Err(why) => Err(why),
    };
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// What a keeper puts in that comes late, and finds that nobody waits for it, goes too.
fn remove_folder(path: &Path) -> io::Result<()> {
    for _ in 0..LATE {
        match fs::remove_dir_all(path) {
            Err(why) if why.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
    }
    fs::remove_dir_all(path)
}

fn remove_if_empty(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(why) if !matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(why)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_what_is_put_into_it_meanwhile() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("run");
        fs::create_dir(&folder).unwrap();
        for number in 0..2000 {
            fs::write(folder.join(number.to_string()), "").unwrap();
        }
        let late = folder.join("late");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each one after the one before was removed.
                let put = (0..200_000).filter(|_| File::create_new(&late).is_ok());
                assert!(put.take(LATE).count() <= LATE);
            });
            remove(&folder).unwrap();
        });
        assert!(!folder.exists());
    }

    #[test]
    fn a_number_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| StateDir::open(folder.path()).unwrap());
            let all: Vec<_> = (0..8).map(|_| open()).collect();
            all.into_iter().map(|one| one.join().unwrap().instance().clone()).collect()
        });
        assert!(opened.iter().all(|one| *one == opened[0]));
        let names: Vec<_> = names(&folder.path().join("microvm")).unwrap();
        assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
    }

    #[test]
    fn a_damaged_number_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        StateDir::open(folder.path()).unwrap();
        let path = folder.path().join("microvm/instance");
        fs::write(&path, "0123").unwrap();
        let why = StateDir::open(folder.path()).unwrap_err();
        assert!(matches!(why, StateError::Instance { .. }), "{why}");
        assert_eq!(fs::read_to_string(path).unwrap(), "0123");
    }

    #[test]
    fn the_second_service_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (StateDir::open(folder.path()).unwrap(), StateDir::open(folder.path()).unwrap());
        let held = one.lock().unwrap();
        let why = two.lock().unwrap_err();
        assert!(why.to_string().contains("used by another service"), "{why}");
        drop(held);
        two.lock().unwrap();
    }

    #[test]
    fn only_what_has_a_name_of_ours_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        for path in ["abc/2", "abc/10", "abc/01", "abc/x", "abd/1", "A/1", "abc/workshop.json"] {
            fs::create_dir_all(folder.path().join("microvm/workshops").join(path)).unwrap();
        }
        let seats: Vec<_> = state.seats(&Scope::All).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(seats, ["abc/2", "abc/10", "abd/1"]);
        assert!(state.seats(&Scope::Workshop("nope".parse().unwrap())).unwrap().is_empty());
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("microvm"), mode("microvm/workshops")), (0o711, 0o700));
    }
}
