//! Prepared boots, each under its digest.
//!
//! ```text
//!   {folder}/
//!     {id}/             complete from the moment it has this name, and never changed
//!       kernel
//!       initramfs
//!       boot.json
//!     current           the id of the one that new seats boot
//!     .new-…            one that is being made, or what a killed process left of it
//!     lock              locked by whoever changes any of it
//! ```
//!
//! A VM keeps the one that it was started with for as long as it lives, so a new set-up disturbs no seat. Whoever runs the VMs must be able
//! to read the files and to pass through the folders; nothing in them is a secret.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::initramfs::BootFile;

const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";
const ABOUT: &str = "boot.json";
const CURRENT: &str = "current";
const NEW: &str = ".new-";
/// Whoever has it locked changes what is kept.
const LOCK: &str = "lock";

/// The name of a prepared boot: 16 hexadecimal digits of the SHA-256 of its kernel and its first root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(String);

impl BootId {
    const DIGITS: usize = 16;

    pub(crate) fn of(kernel: &[u8], initramfs: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // The length tells where one ends and the other begins.
        hash.update((kernel.len() as u64).to_le_bytes());
        hash.update(kernel);
        hash.update(initramfs);
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex[..Self::DIGITS].to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for BootId {
    type Err = BootError;

    fn from_str(text: &str) -> Result<Self, BootError> {
        let good = text.len() == Self::DIGITS
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if good { Ok(Self(text.to_owned())) } else { Err(BootError::Id(text.to_owned())) }
    }
}

impl std::fmt::Display for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A prepared boot.
#[derive(Clone, Debug)]
pub struct Boot {
    id: BootId,
    folder: PathBuf,
    about: BootFile,
}

/// Why there is no prepared boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Nothing was prepared yet.
    #[error("no kernel is prepared in {}: run 'orchestrator microvm setup'", .0.display())]
    None(PathBuf),
    /// Something else than an id.
    #[error("{0:?} is no id of a prepared kernel")]
    Id(String),
    /// It is there and cannot be used.
    #[error("the prepared kernel in {} cannot be used: {why}; run 'orchestrator microvm setup' again", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

impl Boot {
    /// The one that new seats boot.
    ///
    /// # Errors
    /// When none is prepared, or it is damaged.
    pub fn open(folder: &Path) -> Result<Self, BootError> {
        let path = folder.join(CURRENT);
        let text = fs::read_to_string(&path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => BootError::None(folder.into()),
            _ => BootError::Damaged { path, why },
        })?;
        Self::of_id(folder, &text.trim_end().parse()?)
    }

    /// A certain one.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn of_id(folder: &Path, id: &BootId) -> Result<Self, BootError> {
        let folder = folder.join(id.as_str());
        let damaged = |why| BootError::Damaged { path: folder.clone(), why };
        let text = fs::read(folder.join(ABOUT)).map_err(damaged)?;
        let about: BootFile = serde_json::from_slice(&text).map_err(|why| damaged(why.into()))?;
        if about.schema != BootFile::SCHEMA {
            let why = format!("it is of another version of this program (schema {})", about.schema);
            return Err(damaged(io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        for file in [KERNEL, INITRAMFS] {
            let found = fs::metadata(folder.join(file)).map_err(damaged)?;
            if found.len() == 0 {
                let why = format!("its {file} is empty");
                return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
        Ok(Self { id: id.clone(), folder, about })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &BootId {
        &self.id
    }

    /// The kernel's file.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(KERNEL)
    }

    /// The first root's file.
    #[must_use]
    pub fn initramfs(&self) -> PathBuf {
        self.folder.join(INITRAMFS)
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &BootFile {
        &self.about
    }
}

/// Keeps a boot, whole or not at all, and makes it the current one.
pub(crate) fn keep(folder: &Path, kernel: &[u8], initramfs: &[u8], about: &[u8]) -> io::Result<BootId> {
    let id = BootId::of(kernel, initramfs);
    fs::create_dir_all(folder)?;
    let _turn = turn(folder)?;
    let place = folder.join(id.as_str());
    if Boot::of_id(folder, &id).is_err() {
        let new = tempfile::Builder::new().prefix(NEW).tempdir_in(folder)?;
        for (name, bytes) in [(KERNEL, kernel), (INITRAMFS, initramfs), (ABOUT, about)] {
            let mut file = fs::File::create_new(new.path().join(name))?;
            file.write_all(bytes)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
        }
        // A temporary folder is its owner's alone.
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755))?;
        fs::File::open(new.path())?.sync_all()?;
        match fs::remove_dir_all(&place) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        fs::rename(new.path(), &place)?;
    }
    let mut current = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    writeln!(current, "{id}")?;
    current.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    current.as_file().sync_all()?;
    current.persist(folder.join(CURRENT)).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(id)
}

/// Waits until nobody else changes what is kept; until the file is closed, nobody does. One that is made is not current yet, and
/// would be removed by who tidies up.
fn turn(folder: &Path) -> io::Result<fs::File> {
    let lock = fs::File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes the boots that are neither current nor among those still used, and what killed processes left. Tells which went.
///
/// # Errors
/// When the folder cannot be read; what cannot be removed stays for the next time.
pub fn prune(folder: &Path, used: &[BootId]) -> io::Result<Vec<BootId>> {
    if !folder.join(CURRENT).exists() {
        return Ok(Vec::new());
    }
    let _turn = turn(folder)?;
    let current = fs::read_to_string(folder.join(CURRENT))?;
    let mut gone = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(NEW) {
            // Whoever made it is gone: nobody else has the turn. A file is that of a `current` to be.
            drop(if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        }
        let Ok(id) = name.parse::<BootId>() else { continue };
        if id.as_str() != current.trim_end() && !used.contains(&id) && fs::remove_dir_all(&path).is_ok() {
            gone.push(id);
        }
    }
    gone.sort();
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tidies_up_takes_nothing_from_who_is_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let makers: Vec<_> = (0..8_u8)
            .map(|number| {
                let folder = folder.path().to_owned();
                std::thread::spawn(move || {
                    let id = keep(&folder, &[number], b"first root", b"{}").unwrap();
                    prune(&folder, std::slice::from_ref(&id)).unwrap();
                    // Only one that is no longer current may have been taken since.
                    let current = fs::read_to_string(folder.join(CURRENT)).unwrap();
                    assert!(current.trim_end() != id.as_str() || folder.join(id.as_str()).is_dir());
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        let current = fs::read_to_string(folder.path().join(CURRENT)).unwrap();
        assert!(folder.path().join(current.trim_end()).is_dir());
    }

    #[test]
    fn what_a_killed_setup_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let id = keep(folder.path(), b"kernel", b"first root", b"{}").unwrap();
        fs::create_dir(folder.path().join(".new-abc")).unwrap();
        fs::write(folder.path().join(".new-abc/kernel"), "half").unwrap();
        fs::write(folder.path().join(".new-def"), "").unwrap();
        fs::write(folder.path().join("notes"), "an operator's").unwrap();
        assert!(prune(folder.path(), &[]).unwrap().is_empty());
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected = vec![id.to_string(), CURRENT.into(), LOCK.into(), "notes".into()];
        expected.sort();
        assert_eq!(names, expected);
    }
}
