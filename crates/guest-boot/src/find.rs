//! Where a kernel is.
//!
//! ```text
//!   a file            the kernel itself; its modules and configuration are looked for around it and in the host's folders
//!   a folder          boot/vmlinuz-* or boot/vmlinux-*, lib/modules/{version}: an unpacked package, or a root file system
//!   nothing           the host's own: that of the running kernel, else the newest
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::SetupError;
use crate::kernel::{Config, Kernel};

/// A kernel's files.
#[derive(Clone, Debug)]
pub struct Found {
    /// The kernel.
    pub kernel: Kernel,
    /// The folder of its modules, where there is one.
    pub modules: Option<PathBuf>,
    /// Its configuration, where there is one.
    pub config: Option<Config>,
}

/// Looks for a kernel at a path, or on this host.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn find(from: Option<&Path>) -> Result<Found, SetupError> {
    match from {
        Some(path) if path.is_dir() => below(path, None),
        Some(path) => of_file(Kernel::read(path)?, &around(path)),
        None => {
            let running = rustix::system::uname();
            below(Path::new("/"), running.release().to_str().ok())
        }
    }
}

/// In a folder like a root: the one of a version if it is there, else the newest.
fn below(root: &Path, version: Option<&str>) -> Result<Found, SetupError> {
    let boot = root.join("boot");
    let mut candidates: Vec<(Vec<u64>, PathBuf)> = fs::read_dir(&boot)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let version = name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-"))?;
            Some((numbers(version), path))
        })
        .collect();
    candidates.sort();
    let is_wanted = |path: &PathBuf| {
        version.is_some_and(|version| path.to_string_lossy().ends_with(&format!("-{version}")))
    };
    let wanted = candidates.iter().find(|(_, path)| is_wanted(path));
    let Some((_, path)) = wanted.or(candidates.last()) else {
        return Err(SetupError::NoKernel(format!("{} has no vmlinuz-* or vmlinux-*", boot.display())));
    };
    of_file(Kernel::read(path)?, &[root.to_owned()])
}

/// The numbers of a version, by which versions are put in order: 6.10 is after 6.9.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|char: char| !char.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The roots that a kernel's file may belong to: `{root}/boot/vmlinuz-…`, and the host's own.
fn around(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut roots = vec![folder.to_owned()];
    roots.extend(folder.parent().map(Path::to_owned));
    roots.push("/".into());
    roots
}

fn of_file(kernel: Kernel, roots: &[PathBuf]) -> Result<Found, SetupError> {
    let version = kernel.version().to_owned();
    let modules = roots
        .iter()
        .flat_map(|root| ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(&version)))
        .find(|folder| folder.is_dir());
    let name = format!("config-{version}");
    let config = roots
        .iter()
        .flat_map(|root| [root.join("boot").join(&name), root.join(&name)])
        .find_map(|path| Config::read(&path).ok())
        .or_else(|| kernel.own_config());
    Ok(Found { kernel, modules, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_numbers() {
        let mut versions = ["6.10.0-1-amd64", "6.9.0-2-amd64", "6.9.0-10-amd64", "5.19"];
        versions.sort_by_key(|version| numbers(version));
        assert_eq!(versions, ["5.19", "6.9.0-2-amd64", "6.9.0-10-amd64", "6.10.0-1-amd64"]);
    }

    #[test]
    fn a_folder_without_a_kernel_says_where_it_looked() {
        let folder = tempfile::tempdir().unwrap();
        let why = find(Some(folder.path())).unwrap_err().to_string();
        assert!(why.contains("boot has no vmlinuz-* or vmlinux-*"), "{why}");
        let why = find(Some(&folder.path().join("vmlinuz"))).unwrap_err().to_string();
        assert!(why.contains("cannot be read"), "{why}");
    }
}
