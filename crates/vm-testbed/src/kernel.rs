//! The kernel that guests boot, and its modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::BootError;

/// A kernel with its modules and a static busybox, in one folder.
#[derive(Clone, Debug)]
pub struct Kernel {
    image: PathBuf,
    modules: PathBuf,
    busybox: PathBuf,
    /// What each module needs, all as paths below `modules`.
    needs: BTreeMap<String, Vec<String>>,
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

    /// The kernel in a folder: `boot/vmlinuz-*`, `lib/modules/*` with `modules.dep`, `bin/busybox`.
    ///
    /// # Errors
    /// When something of it is not there.
    pub fn open(folder: &Path) -> Result<Self, BootError> {
        let image = only(&folder.join("boot"), "vmlinuz-")?;
        let modules = only(&folder.join("lib/modules"), "")?;
        let busybox = folder.join("bin/busybox");
        let list = modules.join("modules.dep");
        let text = fs::read_to_string(&list).map_err(BootError::io(list))?;
        Ok(Self { image, modules, busybox, needs: parse(&text) })
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

    /// The files of these modules and of all that they need, in the order in which they can be loaded. What is built
    /// into the kernel is left out.
    ///
    /// # Errors
    /// When the kernel has none of that name.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>, BootError> {
        let list = self.modules.join("modules.builtin");
        let builtin = fs::read_to_string(&list).map_err(BootError::io(list))?;
        let mut order = Vec::new();
        for &name in names {
            if builtin.lines().any(|path| named(path, name)) {
                continue;
            }
            let path = self.needs.keys().find(|path| named(path, name));
            visit(&self.needs, path.ok_or_else(|| BootError::Module(name.into()))?, &mut order);
        }
        Ok(order.into_iter().map(|path| self.modules.join(path)).collect())
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

/// Reads `modules.dep` (modules.dep(5)): `path: needed needed …`.
fn parse(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// Whether the file is the module; `-` and `_` are the same in their names.
fn named(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").is_some_and(|stem| stem.replace('-', "_") == name.replace('-', "_"))
}

fn visit(needs: &BTreeMap<String, Vec<String>>, path: &str, order: &mut Vec<String>) {
    if order.iter().any(|done| done == path) {
        return;
    }
    for needed in needs.get(path).into_iter().flatten() {
        visit(needs, needed, order);
    }
    order.push(path.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let needs = parse("k/a.ko: k/b.ko k/c.ko\nk/b.ko: k/c.ko\nk/c.ko:\nk/d.ko: k/c.ko\n");
        let mut order = Vec::new();
        visit(&needs, "k/a.ko", &mut order);
        visit(&needs, "k/d.ko", &mut order);
        assert_eq!(order, ["k/c.ko", "k/b.ko", "k/a.ko", "k/d.ko"]);
    }

    #[test]
    fn dashes_and_underscores_are_the_same() {
        assert!(named("kernel/drivers/virtio-blk.ko", "virtio_blk"));
        assert!(!named("kernel/drivers/virtio_blk.ko", "virtio"));
    }
}
