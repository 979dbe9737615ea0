//! The kernel that guests boot, and its modules.

use std::fs;
use std::path::{Path, PathBuf};

use guest_boot::modules::{Module, ModuleTree};

use crate::BootError;

/// A kernel with its modules and a static busybox, in one folder.
#[derive(Clone, Debug)]
pub struct Kernel {
    image: PathBuf,
    modules: ModuleTree,
    busybox: PathBuf,
}

impl Kernel {
    /// The kernel that `scripts/ensure-guest-kernel.sh` unpacked, or the one in the folder `CLARATEACH_GUEST`.
    ///
    /// # Errors
    /// [`BootError::Missing`] when there is none.
    pub fn find() -> Result<Self, BootError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("CLARATEACH_GUEST").or_else(|| {
            let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
            Some(cache.join("clarateach/guest"))
        });
        let missing = || BootError::Missing("no guest kernel: run scripts/ensure-guest-kernel.sh".into());
        let folder = folder.filter(|folder| folder.is_dir()).ok_or_else(missing)?;
        Self::open(&folder)
    }

    /// The kernel in a folder: `boot/vmlinuz-*`, `lib/modules/*`, `bin/busybox`.
    ///
    /// # Errors
    /// When something of it is not there.
    pub fn open(folder: &Path) -> Result<Self, BootError> {
        let image = only(&folder.join("boot"), "vmlinuz-")?;
        let modules = only(&folder.join("lib/modules"), "")?;
        let busybox = folder.join("bin/busybox");
        Ok(Self { image, modules: ModuleTree::open(&modules)?, busybox })
    }

    /// The kernel itself, a bzImage.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A static busybox of the kernel's processor.
    #[must_use]
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// These modules and all that they need, in the order in which they can be loaded. What is built into the kernel is left out.
    ///
    /// # Errors
    /// When the kernel has none of that name.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<Module>, BootError> {
        Ok(self.modules.resolve(names.iter().copied())?)
    }
}

/// The only file of a folder whose name begins so.
fn only(folder: &Path, prefix: &str) -> Result<PathBuf, BootError> {
    let entries = fs::read_dir(folder).map_err(BootError::io(folder))?;
    let mut found = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(BootError::Missing(format!("{} has not exactly one {prefix}*", folder.display()))),
    }
}
