//! A file that is named by the user: there as a whole, or not at all.
//!
//! It is made under a name of its own beside its place, `.NAME.PID.partial`, and renamed. What a killed process left
//! under such a name is removed by the next one that makes the same file, with the folder that a writer had beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rootfs::ImageFile;

use crate::exit::{Exit, Failure};

/// The file to be.
#[derive(Debug)]
pub(super) struct Out {
    path: PathBuf,
    folder: PathBuf,
    partial: PathBuf,
}

impl Out {
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, Failure> {
        let show = path.display();
        let Some(name) = path.file_name() else {
            return Err(Failure::new(Exit::Usage, format!("{show} is no name of a file")));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(Failure::new(Exit::NotFound, format!("{} is no folder", parent.display()))
                .remedy("make it first"));
        }
        if path.is_dir() {
            return Err(Failure::new(Exit::Usage, format!("{show} is a folder")).remedy("name a file in it"));
        }
        if path.exists() && !force {
            return Err(Failure::new(Exit::Conflict, format!("{show} is there already"))
                .remedy("name another file, or overwrite it with --force"));
        }
        let prefix = format!(".{}.", name.to_string_lossy());
        sweep(parent, &prefix);
        let partial = parent.join(format!("{prefix}{}.partial", std::process::id()));
        Ok(Self { path: path.into(), folder: parent.into(), partial })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Makes the file and its document.
    pub(super) fn make<T>(
        &self,
        make: impl FnOnce(&Path) -> Result<(ImageFile, T), Failure>,
    ) -> Result<(ImageFile, T), Failure> {
        let made = make(&self.partial)?;
        let place = || -> std::io::Result<()> {
            made.0.write(&ImageFile::path_beside(&self.path))?;
            fs::rename(&self.partial, &self.path)?;
            File::open(&self.folder)?.sync_all()
        };
        place().map_err(|why| {
            let _ = fs::remove_file(&self.partial);
            Failure::new(Exit::Failure, format!("{} cannot be written: {why}", self.path.display()))
        })?;
        Ok(made)
    }
}

/// Removes what processes left that are no more.
fn sweep(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".partial"))
        else {
            continue;
        };
        let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
        if pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)) {
            let _ = fs::remove_file(entry.path());
            let _ = fs::remove_dir_all(rootfs::writer::stage(&entry.path()));
        }
    }
}
