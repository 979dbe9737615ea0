//! The kernel that guests boot, and its modules.

use std::fs;
use std::path::{Path, PathBuf};

use guest_boot::modules::{Module, ModuleName, ModuleTree};

use crate::BootError;
use crate::paths::{cached, set};

/// A kernel with its modules and a static busybox.
#[derive(Clone, Debug)]
pub struct Kernel {
    image: PathBuf,
    /// What `microvm setup` takes it from.
    source: PathBuf,
    /// Nothing for one that has everything in itself.
    modules: Option<ModuleTree>,
    busybox: PathBuf,
}

impl Kernel {
    /// The kernel that `scripts/ensure-guest-kernel.sh` unpacked, or the one in the folder `CLARATEACH_GUEST`. In its place the file
    /// that `CLARATEACH_KERNEL` names, which needs no modules (`make kernel`), with the busybox of that folder.
    ///
    /// # Errors
    /// [`BootError::Missing`] when there is none; another when a file is named that is none.
    pub fn find() -> Result<Self, BootError> {
        let folder = set("CLARATEACH_GUEST").or_else(|| cached("guest"));
        let missing = || BootError::Missing("no guest kernel: run scripts/ensure-guest-kernel.sh".into());
        let folder = folder.filter(|folder| folder.is_dir()).ok_or_else(missing)?;
        let kernel = Self::open(&folder)?;
        match set("CLARATEACH_KERNEL") {
            Some(image) => kernel.replaced(image),
            None => Ok(kernel),
        }
    }

    /// The kernel of an outer guest: the one that `scripts/ensure-guest-kernel.sh generic` unpacked, or that in the folder `CLARATEACH_GUEST_GENERIC`.
    ///
    /// # Errors
    /// [`BootError::Missing`] when there is none.
    pub(crate) fn generic() -> Result<Self, BootError> {
        let folder = set("CLARATEACH_GUEST_GENERIC").or_else(|| cached("guest-generic"));
        let missing = "no kernel for an outer guest: run scripts/ensure-guest-kernel.sh generic";
        let folder = folder.filter(|folder| folder.is_dir());
        Self::open(&folder.ok_or_else(|| BootError::Missing(missing.into()))?)
    }

    /// Another kernel that has everything in itself, with the same busybox.
    fn replaced(self, image: PathBuf) -> Result<Self, BootError> {
        fs::metadata(&image).map_err(BootError::io(&image))?;
        Ok(Self { source: image.clone(), image, modules: None, ..self })
    }

    /// The kernel in a folder: `boot/vmlinuz-*`, `lib/modules/*`, `bin/busybox`.
    ///
    /// # Errors
    /// When something of it is not there.
    pub fn open(folder: &Path) -> Result<Self, BootError> {
        let image = only(&folder.join("boot"), "vmlinuz-")?;
        let modules = only(&folder.join("lib/modules"), "")?;
        let busybox = folder.join("bin/busybox");
        Ok(Self { image, source: folder.into(), modules: Some(ModuleTree::open(&modules)?), busybox })
    }

    /// What `microvm setup` makes a boot of: the folder of the package, or the kernel that has everything in itself.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Whether it has a module of this name. One that has everything in itself has none.
    #[must_use]
    pub fn has_module(&self, name: &str) -> bool {
        self.modules.as_ref().is_some_and(|modules| modules.has(&ModuleName::new(name)))
    }

    /// The kernel itself, a bzImage or an ELF file.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A static busybox of the kernel's processor.
    #[must_use]
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// These modules and all that they need, in the order in which they can be loaded. What is built into the kernel is left out, so
    /// there are none for one that has everything in itself.
    ///
    /// # Errors
    /// When the kernel has none of that name.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<Module>, BootError> {
        let Some(modules) = &self.modules else { return Ok(Vec::new()) };
        Ok(modules.resolve(names.iter().copied())?)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of an unpacked package as is looked at before anything boots.
    fn package(folder: &Path) {
        for path in ["boot/vmlinuz-6.1.0", "lib/modules/6.1.0/kernel/kvm-amd.ko", "bin/busybox"] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn one_that_has_everything_in_itself_takes_no_modules() {
        let folder = tempfile::tempdir().unwrap();
        package(folder.path());
        let kernel = Kernel::open(folder.path()).unwrap();
        assert_eq!(kernel.source(), folder.path());
        assert!(kernel.has_module("kvm_amd") && !kernel.has_module("ext4"));
        assert!(kernel.modules(&["ext4"]).is_err(), "it is neither there nor part of the kernel");

        let vmlinux = folder.path().join("vmlinux");
        let missing = kernel.clone().replaced(vmlinux.clone());
        assert!(matches!(&missing, Err(BootError::Io { path, .. }) if *path == vmlinux), "{missing:?}");
        fs::write(&vmlinux, "").unwrap();
        let own = kernel.clone().replaced(vmlinux.clone()).unwrap();
        assert_eq!((own.image(), own.source(), own.busybox()), (&*vmlinux, &*vmlinux, kernel.busybox()));
        assert!(!own.has_module("kvm_amd"));
        assert!(own.modules(&["ext4", "overlay"]).unwrap().is_empty());
    }
}
