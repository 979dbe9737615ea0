//! Writes and opens the files of a snapshot.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::description::{Description, FORMAT, FileTraits};
use super::digest::digest;
use crate::vmm::MonitorKind;

use super::{Memory, Snapshot, SnapshotError, Traits, memory};
use crate::random;

const MEMORY: &str = "memory";
const STATE: &str = "state";
const DESCRIPTION: &str = "snapshot.json";
/// More than any description has, in bytes.
const LONGEST: u64 = 1 << 20;

/// A snapshot that is being written, under another name than it will have. Dropped before it is finished, it is removed.
#[derive(Debug)]
pub(crate) struct Unfinished {
    folder: PathBuf,
    new: PathBuf,
    state: File,
    is_finished: bool,
}

/// Begins to write one; what another one left that was not finished is removed.
pub(crate) fn write(folder: &Path) -> Result<Unfinished, SnapshotError> {
    let new = beside(folder, "new");
    let io = |what: &str| SnapshotError::io(folder, format!("{what} {}", new.display()));
    remove(&new).map_err(io("removing"))?;
    DirBuilder::new().mode(0o700).create(&new).map_err(io("making"))?;
    match create(&new.join(STATE)) {
        Ok(state) => Ok(Unfinished { folder: folder.to_owned(), new, state, is_finished: false }),
        Err(why) => {
            drop(remove(&new));
            Err(SnapshotError::io(folder, "making its state")(why))
        }
    }
}

impl Unfinished {
    /// Where the monitor writes its state to.
    pub(crate) fn state(&self) -> &File {
        &self.state
    }

    /// Writes the rest, looks whether the disk has what was written, and gives it its name; one that had the name is replaced. To be called where it may block.
    pub(crate) fn finish(mut self, memory: &Memory, traits: Traits) -> Result<(), SnapshotError> {
        self.demand_there()?;
        let (at, description) = self.fill(memory, traits)?;
        self.verify(&at, &description)?;
        self.name(&description)
    }

    /// Writes the memory, and says what there is.
    fn fill(&self, memory: &Memory, traits: Traits) -> Result<(File, Description), SnapshotError> {
        let (folder, new) = (self.folder.clone(), self.new.clone());
        let io = |what: &'static str| SnapshotError::io(&folder, what);
        let at = create(&new.join(MEMORY)).map_err(io("making its memory"))?;
        let sha256_of_memory = memory.save(&at).map_err(io("writing its memory"))?;
        let (bytes, sha256) = digest(&self.state).map_err(io("reading its state"))?;
        let description = Description {
            format: FORMAT,
            traits,
            memory: FileTraits { bytes: memory.bytes(), sha256: sha256_of_memory },
            state: FileTraits { bytes, sha256 },
        };
        Ok((at, description))
    }

    /// Looks whether the disk has what was written.
    fn verify(&self, at: &File, description: &Description) -> Result<(), SnapshotError> {
        let folder = self.folder.clone();
        let io = |what: &'static str| SnapshotError::io(&folder, what);
        for file in [at, &self.state] {
            file.sync_all().map_err(io("syncing it"))?;
            // So that what is read now is what the disk has.
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)
                .map_err(|why| SnapshotError::io(&folder, "reading it again")(why.into()))?;
        }
        let again = memory::digest(at, description.memory.bytes).map_err(io("reading its memory again"))?;
        let state = digest(&self.state).map_err(io("reading its state again"))?;
        for (file, same) in [
            (MEMORY, again == description.memory.sha256),
            (STATE, state == (description.state.bytes, description.state.sha256.clone())),
        ] {
            if !same {
                return Err(SnapshotError::Damaged { folder, file });
            }
        }
        Ok(())
    }

    /// Whether what has its name is this one. One that takes too long is given up while a thread still writes it, and somebody else may have begun anew.
    fn is_there(&self) -> io::Result<bool> {
        let (there, own) = (fs::metadata(self.new.join(STATE))?, self.state.metadata()?);
        Ok((there.dev(), there.ino()) == (own.dev(), own.ino()))
    }

    fn demand_there(&self) -> Result<(), SnapshotError> {
        if self.is_there().unwrap_or(true) {
            return Ok(());
        }
        let why = io::Error::other("somebody else makes it now");
        Err(SnapshotError::io(&self.folder, "writing it down")(why))
    }

    /// Puts its description beside what is there, and gives it its name.
    fn name(&mut self, description: &Description) -> Result<(), SnapshotError> {
        self.demand_there()?;
        let (folder, new) = (self.folder.clone(), self.new.clone());
        let io = |what: &'static str| SnapshotError::io(&folder, what);
        let described = (|| {
            let mut file = create(&new.join(DESCRIPTION))?;
            file.write_all(&serde_json::to_vec_pretty(description)?)?;
            file.sync_all()?;
            File::open(&new)?.sync_all()
        })();
        described.map_err(io("writing snapshot.json"))?;
        let named = (|| {
            // A folder takes the place of an empty one only.
            let old = beside(&folder, "old");
            remove(&old)?;
            match fs::rename(&folder, &old) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            fs::rename(&new, &folder)?;
            remove(&old)?;
            File::open(folder.parent().unwrap_or(Path::new("/")))?.sync_all()
        })();
        named.map_err(io("giving it its name"))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished && self.is_there().unwrap_or(true) {
            // The next one tries again.
            drop(remove(&self.new));
        }
    }
}

/// Only the number, which every layout has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Opens one.
pub(super) fn open(folder: &Path) -> Result<Snapshot, SnapshotError> {
    let (traits, state, from) = look(folder)?;
    let opening = match traits.monitor {
        // Copied, each time it is opened.
        MonitorKind::Qemu => random::hex::<8>(),
        // All that have it open have the host's page cache of it.
        MonitorKind::Firecracker => told_apart(&from),
    };
    let opening = opening.map_err(SnapshotError::io(folder, "giving it a number"))?;
    let memory = match traits.monitor {
        MonitorKind::Qemu => Memory::load(&from, traits.memory_mib),
        MonitorKind::Firecracker => {
            Memory::of(from, traits.memory_mib).and_then(|memory| memory.read_ahead().map(|()| memory))
        }
    };
    let memory = memory.map_err(SnapshotError::io(folder, "reading its memory"))?;
    Ok(Snapshot { folder: folder.to_owned(), opening, traits, state, memory })
}

/// 16 hex digits that this file has, as long as it is there and nobody writes to it, and no other.
fn told_apart(file: &File) -> io::Result<String> {
    let about = file.metadata()?;
    let about = [about.dev(), about.ino(), about.mtime().cast_unsigned(), about.mtime_nsec().cast_unsigned()];
    Ok(random::digits(&Sha256::digest(about.map(u64::to_le_bytes).concat())[..8]))
}

/// What one was made of, its state and its memory, as long as they should be.
pub(super) fn look(folder: &Path) -> Result<(Traits, File, File), SnapshotError> {
    let incomplete = |why: String| SnapshotError::Incomplete { folder: folder.to_owned(), why };
    let opened = |name: &str| match File::open(folder.join(name)) {
        Ok(file) => Ok(file),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Err(incomplete(format!("there is no {name}"))),
        Err(why) => Err(SnapshotError::io(folder, format!("opening {name}"))(why)),
    };
    let mut text = Vec::new();
    let read = io::Read::read_to_end(&mut io::Read::take(opened(DESCRIPTION)?, LONGEST), &mut text);
    read.map_err(SnapshotError::io(folder, "reading snapshot.json"))?;
    let not_understood =
        |why: serde_json::Error| incomplete(format!("snapshot.json is not understood: {why}"));
    let Format { format } = serde_json::from_slice(&text).map_err(not_understood)?;
    if format != FORMAT {
        return Err(SnapshotError::Format { folder: folder.to_owned(), found: format });
    }
    let description: Description = serde_json::from_slice(&text).map_err(not_understood)?;
    let sized = |name: &str, traits: &FileTraits| {
        let file = opened(name)?;
        let size = file.metadata().map_err(SnapshotError::io(folder, format!("looking at {name}")))?.len();
        if size == traits.bytes {
            Ok(file)
        } else {
            Err(incomplete(format!("{name} has {size} bytes of {}", traits.bytes)))
        }
    };
    let state = sized(STATE, &description.state)?;
    let from = sized(MEMORY, &description.memory)?;
    if description.memory.bytes != u64::from(description.traits.memory_mib) << 20 {
        return Err(incomplete("the memory is not as large as the guest's".into()));
    }
    Ok((description.traits, state, from))
}

/// Work on a snapshot's files, away from the threads that others wait for.
pub(in crate::vmm) async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| SnapshotError::io(folder, "working on it")(io::Error::other(why)))?
}

/// A name beside a folder's.
fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut path = folder.to_owned().into_os_string();
    path.push(format!(".{ending}"));
    path.into()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
