//! The kernel's modules: by name, with what they need, in the order in which they can be loaded.
//!
//! What a module needs is written in the module itself (`depends=` and `softdep=` in its `.modinfo`, where the kernel's build puts it), so nothing
//! here depends on `modules.dep`: a package that was only unpacked has none, and one that is there may be older than the files beside it.
//!
//! ```text
//!   lib/modules/{version}/
//!     modules.builtin      what is part of the kernel itself
//!     modules.alias        other names (optional)
//!     kernel/…/{name}.ko   or .ko.gz, .ko.xz, .ko.zst
//!     updates/…            go before those of the same name elsewhere (depmod.d(5))
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod file;
mod info;
mod resolve;

pub use info::ModuleInfo;

/// The folders are not deeper than this, whatever links make of them.
const DEEPEST: usize = 16;

/// The name of a module: `-` and `_` are the same in it, as for modprobe(8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

impl ModuleName {
    /// From text in either spelling.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.replace('-', "_"))
    }

    /// With `_`, as the running kernel shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of a file `{name}.ko`, packed or not.
    fn of_file(path: &str) -> Option<Self> {
        let file = path.rsplit('/').next().unwrap_or(path);
        let endings = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"];
        let stem = endings.iter().find_map(|ending| file.strip_suffix(ending))?;
        (!stem.is_empty()).then(|| Self::new(stem))
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A module that is to be loaded.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// Where it was found.
    pub path: PathBuf,
    /// The file, unpacked.
    pub content: Vec<u8>,
    /// What it says about itself.
    pub info: ModuleInfo,
}

/// Why a module cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// There is no such folder, or it is none of a kernel's modules.
    #[error("{} is no folder of kernel modules: {why}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Neither a file nor part of the kernel.
    #[error("the kernel {version} has no module {name}{}", .needed_by.as_ref().map(|by| format!(", which its module {by} needs")).unwrap_or_default())]
    Missing {
        /// Which.
        name: ModuleName,
        /// What needs it.
        needed_by: Option<ModuleName>,
        /// The kernel's.
        version: String,
    },
    /// The file cannot be read, or is no module.
    #[error("the kernel module {} cannot be used: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

/// The modules of one kernel.
#[derive(Clone, Debug)]
pub struct ModuleTree {
    folder: PathBuf,
    version: String,
    files: BTreeMap<ModuleName, PathBuf>,
    /// Nothing when the folder does not say it.
    builtin: Option<BTreeSet<ModuleName>>,
    /// Names that stand for modules.
    aliases: BTreeMap<ModuleName, BTreeSet<ModuleName>>,
}

impl ModuleTree {
    /// The modules in `lib/modules/{version}`; the name of the folder is the version of the kernel.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self, ModuleError> {
        let wrong = |why| ModuleError::Folder { path: folder.into(), why };
        let version = folder.file_name().and_then(|name| name.to_str());
        let version = version
            .ok_or_else(|| wrong(io::Error::new(io::ErrorKind::InvalidInput, "its name is no version")))?;
        let mut files = BTreeMap::new();
        walk(folder, DEEPEST, &mut |path| {
            if let Some(name) = path.to_str().and_then(ModuleName::of_file) {
                let goes_first = path.strip_prefix(folder).is_ok_and(|path| path.starts_with("updates"));
                if goes_first || !files.contains_key(&name) {
                    files.insert(name, path.to_owned());
                }
            }
        })
        .map_err(wrong)?;
        let list = |name: &str| match fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(ModuleError::Folder { path: folder.join(name), why }),
        };
        let builtin = list("modules.builtin")?;
        let builtin = builtin.map(|text| text.lines().filter_map(ModuleName::of_file).collect());
        let aliases = aliases(&list("modules.alias")?.unwrap_or_default());
        Ok(Self { folder: folder.into(), version: version.into(), files, builtin, aliases })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The version of the kernel that they are for.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether there is a file of that name.
    #[must_use]
    pub fn has(&self, name: &ModuleName) -> bool {
        self.files.contains_key(name)
    }

    /// Whether it is part of the kernel itself; nothing when the folder has no list of these.
    #[must_use]
    pub fn is_builtin(&self, name: &ModuleName) -> Option<bool> {
        self.builtin.as_ref().map(|builtin| builtin.contains(name))
    }
}

/// Every file below a folder, in the order of names. Links to folders (`build`, `source`) are not followed.
fn walk(folder: &Path, deepest: usize, found: &mut impl FnMut(&Path)) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() && deepest > 0 {
            walk(&entry.path(), deepest - 1, found)?;
        } else if !kind.is_dir() {
            found(&entry.path());
        }
    }
    Ok(())
}

/// Reads `modules.alias` (depmod(8)): `alias {pattern} {module}`. Patterns are of devices, and left out.
fn aliases(text: &str) -> BTreeMap<ModuleName, BTreeSet<ModuleName>> {
    let mut aliases: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some("alias"), Some(alias), Some(module)) = (words.next(), words.next(), words.next())
            && !alias.contains(['*', '?', '[', ':'])
        {
            aliases.entry(ModuleName::new(alias)).or_default().insert(ModuleName::new(module));
        }
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_in_every_packing() {
        for (path, name) in [
            ("kernel/drivers/virtio-blk.ko", Some("virtio_blk")),
            ("a/b.ko.xz", Some("b")),
            ("b.ko.zst", Some("b")),
            ("b.ko.gz", Some("b")),
            ("b.o", None),
            (".ko", None),
            ("modules.dep", None),
        ] {
            assert_eq!(ModuleName::of_file(path).as_ref().map(ModuleName::as_str), name, "{path}");
        }
    }

    #[test]
    fn updates_go_first_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("6.1.0");
        for path in ["kernel/a.ko", "updates/dkms/a.ko.xz", "zfs/a.ko", "kernel/b.ko"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("build")).unwrap();
        fs::write(root.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        fs::write(root.join("modules.alias"), "alias crc32c crc32c_generic\nalias pci:v*d* x\n").unwrap();
        let tree = ModuleTree::open(&root).unwrap();
        assert_eq!((tree.len(), tree.version()), (2, "6.1.0"));
        assert_eq!(tree.files[&ModuleName::new("a")], root.join("updates/dkms/a.ko.xz"));
        assert_eq!(tree.is_builtin(&ModuleName::new("ext4")), Some(true));
        assert_eq!(tree.is_builtin(&ModuleName::new("overlay")), Some(false));
        assert_eq!(tree.aliases.len(), 1);
        fs::remove_file(root.join("modules.builtin")).unwrap();
        assert_eq!(ModuleTree::open(&root).unwrap().is_builtin(&ModuleName::new("ext4")), None);
        assert!(ModuleTree::open(&folder.path().join("7.0")).is_err());
    }
}
