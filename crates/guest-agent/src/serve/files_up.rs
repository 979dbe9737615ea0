//! Into the seat.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use guest_protocol::{Problem, ProblemCode};
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps, chmodat, chownat, fchmod, fchown, fsync,
    futimens, linkat, mkdirat, openat2, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// The most entries of an archive.
const ENTRIES: usize = 1_000_000;
/// What a file is called until it is whole.
const TEMPORARY: &str = ".clarateach-upload";

/// Where to, and whose.
#[derive(Debug)]
pub(super) struct Unpack {
    pub(super) folder: OwnedFd,
    /// User and group; those of the archive when there are none.
    pub(super) owner: Option<(u32, u32)>,
}

/// Unpacks an archive. What was unpacked before a failure stays.
pub(super) fn unpack(archive: impl Read, to: &Unpack) -> Result<(), Problem> {
    let mut archive = Archive::new(archive);
    let damaged =
        |why: io::Error| Problem::new(ProblemCode::Invalid, format!("the archive is damaged: {why}"));
    for (number, entry) in archive.entries().map_err(damaged)?.enumerate() {
        if number >= ENTRIES {
            return Err(Problem::new(
                ProblemCode::TooLarge,
                format!("the archive has more than {ENTRIES} entries"),
            ));
        }
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).chars().take(200).collect::<String>();
        to.one(&mut entry).map_err(|why| told(&name, why))?;
    }
    Ok(())
}

fn told(name: &str, why: Trouble) -> Problem {
    let (code, words) = match why {
        Trouble::Wrong(words) => (ProblemCode::Invalid, words.to_owned()),
        Trouble::System(Errno::NOSPC | Errno::DQUOT) => {
            (ProblemCode::Failed, "the seat's disk is full".into())
        }
        Trouble::System(Errno::XDEV | Errno::LOOP) => {
            (ProblemCode::Invalid, "it leads out of the folder".into())
        }
        Trouble::System(why) => (ProblemCode::Failed, io::Error::from(why).to_string()),
        Trouble::Io(why) => (ProblemCode::Invalid, why.to_string()),
    };
    Problem::new(code, format!("{name:?} of the archive cannot be unpacked: {words}"))
}

enum Trouble {
    Wrong(&'static str),
    System(Errno),
    Io(io::Error),
}

impl From<Errno> for Trouble {
    fn from(why: Errno) -> Self {
        Self::System(why)
    }
}

impl From<io::Error> for Trouble {
    /// Of reading the archive and writing the file, which one call does.
    fn from(why: io::Error) -> Self {
        Errno::from_io_error(&why).map_or(Self::Io(why), Self::System)
    }
}

impl Unpack {
    fn one<R: Read>(&self, entry: &mut Entry<'_, R>) -> Result<(), Trouble> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = clean(&entry.path_bytes())?;
        let Some(name) = path.file_name() else {
            // The folder itself, which is there.
            return Ok(());
        };
        let parent = self.parent(path.parent().unwrap_or(Path::new("")))?;
        match kind {
            EntryType::Directory => self.folder(entry, &parent, name),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, &parent, name)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Trouble::Wrong("it is a link to nothing"))?;
                self.placed(&parent, name, |temporary| symlinkat(&*target, &parent, temporary))?;
                self.dress(entry, &parent, name, false)
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(Trouble::Wrong("it is a link to nothing"))?;
                let target = clean(&target)?;
                let target_name = target.file_name().ok_or(Trouble::Wrong("it is a link to the folder"))?;
                let target_parent = self.beneath(target.parent().unwrap_or(Path::new("")))?;
                self.placed(&parent, name, |temporary| {
                    linkat(&target_parent, target_name, &parent, temporary, AtFlags::empty())
                })
            }
            EntryType::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                self.placed(&parent, name, |temporary| {
                    rustix::fs::mknodat(&parent, temporary, rustix::fs::FileType::Fifo, mode, 0)
                })?;
                self.dress(entry, &parent, name, true)
            }
            EntryType::Char | EntryType::Block => Err(Trouble::Wrong("devices are not unpacked")),
            _ => Err(Trouble::Wrong("it is of a kind that is not known")),
        }
    }

    /// A folder below ours; links on the way may lead anywhere below it.
    fn beneath(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.folder, path, flags, Mode::empty(), resolve)?;
        if super::files::is_made_up(&found) { Err(Errno::XDEV) } else { Ok(found) }
    }

    /// The same, made where it is not there.
    fn parent(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.beneath(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut below = PathBuf::new();
        for part in path.components() {
            let parent = self.beneath(&below)?;
            below.push(part);
            match mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) => self.give(&parent, part.as_os_str(), None)?,
                Err(Errno::EXIST) => {}
                Err(why) => return Err(why),
            }
        }
        self.beneath(&below)
    }

    fn folder<R: Read>(&self, entry: &Entry<'_, R>, parent: &OwnedFd, name: &OsStr) -> Result<(), Trouble> {
        match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => self.dress(entry, parent, name, true),
            // One that is there keeps its mode and owner.
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat2(
                    parent,
                    name,
                    flags,
                    Mode::empty(),
                    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
                )?;
                Ok(())
            }
            Err(why) => Err(why.into()),
        }
    }

    fn file<R: Read>(&self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr) -> Result<(), Trouble> {
        let temporary = temporary(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let _ = unlinkat(parent, &*temporary, AtFlags::empty());
        let file = rustix::fs::openat(parent, &*temporary, flags, Mode::from_raw_mode(0o600))?;
        let written = (|| {
            let mut file = std::fs::File::from(file);
            if io::copy(entry, &mut file)? != entry.size() {
                return Err(Trouble::Wrong("the archive ends in the middle of it"));
            }
            let (owner, mode) = (self.owner_of(entry)?, self.mode_of(entry)?);
            if let Some((uid, gid)) = owner {
                fchown(&file, Some(uid), Some(gid))?;
            }
            fchmod(&file, mode)?;
            let seconds = entry.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
            let time = Timespec { tv_sec: seconds.unwrap_or(0), tv_nsec: 0 };
            futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            // On the disk before it takes the place of another one.
            fsync(&file)?;
            renameat(parent, &*temporary, parent, name)?;
            Ok(())
        })();
        if written.is_err() {
            let _ = unlinkat(parent, &*temporary, AtFlags::empty());
        }
        written
    }

    /// Makes something under another name, and then puts it in the place of whatever is there.
    fn placed(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        make: impl FnOnce(&str) -> Result<(), Errno>,
    ) -> Result<(), Trouble> {
        let temporary = temporary(name);
        let _ = unlinkat(parent, &*temporary, AtFlags::empty());
        make(&temporary)?;
        let placed = renameat(parent, &*temporary, parent, name);
        // Also after it worked: two names of one file are left as they are (rename(2)).
        let _ = unlinkat(parent, &*temporary, AtFlags::empty());
        Ok(placed?)
    }

    fn dress<R: Read>(
        &self,
        entry: &Entry<'_, R>,
        parent: &OwnedFd,
        name: &OsStr,
        with_mode: bool,
    ) -> Result<(), Trouble> {
        self.give(parent, name, self.owner_of(entry)?)?;
        if with_mode {
            chmodat(parent, name, self.mode_of(entry)?, AtFlags::empty())?;
        }
        Ok(())
    }

    fn give(&self, parent: impl AsFd, name: &OsStr, owner: Option<Ids>) -> Result<(), Errno> {
        let own = || self.owner.map(ids);
        match owner.or_else(own) {
            Some((uid, gid)) if rustix::process::geteuid().is_root() => {
                chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
            _ => Ok(()),
        }
    }

    /// Whose an entry becomes; nobody's when this process may not give files away.
    fn owner_of<R: Read>(&self, entry: &Entry<'_, R>) -> Result<Option<Ids>, Trouble> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Some(owner) = self.owner {
            return Ok(Some(ids(owner)));
        }
        let number = |number: u64| {
            u32::try_from(number).map_err(|_| Trouble::Wrong("its owner is no number that users have"))
        };
        Ok(Some(ids((number(entry.header().uid()?)?, number(entry.header().gid()?)?))))
    }

    /// Programs that run as their owner are not for somebody else's files.
    fn mode_of<R: Read>(&self, entry: &Entry<'_, R>) -> Result<Mode, Trouble> {
        let bits = if self.owner.is_some() { 0o777 } else { 0o7777 };
        Ok(Mode::from_raw_mode(entry.header().mode()? & bits))
    }
}

type Ids = (rustix::fs::Uid, rustix::fs::Gid);

fn ids((uid, gid): (u32, u32)) -> Ids {
    (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid))
}

/// A name beside this one; names are at most 255 bytes long.
fn temporary(name: &OsStr) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{TEMPORARY}-{:016x}", RandomState::new().hash_one(name))
}

/// The path of an entry below the folder: one that begins with `/` is taken as if it did not.
fn clean(bytes: &[u8]) -> Result<PathBuf, Trouble> {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(bytes)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(Trouble::Wrong("its name has ..")),
        }
    }
    Ok(path)
}
