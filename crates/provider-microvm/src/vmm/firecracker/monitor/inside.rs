//! A VM as its monitor sees it from its jail.

use std::fs;
use std::path::PathBuf;

use super::id;
use crate::vmm::jail::{Access, FileName, JailFile, JailId, JailSpec};
use crate::vmm::{Drive, SpecError, VmSpec, VmmError};

const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";
/// How large a file may become in any case, in bytes.
const SOME: u64 = 16 << 20;

/// The jail of a VM, with what it is made of.
pub(super) fn jail(spec: &VmSpec, firecracker: PathBuf) -> Result<JailSpec, VmmError> {
    let refused = |why: &str| VmmError::Spec { seat: spec.seat.clone(), why: SpecError::Bound(why.into()) };
    let user = spec
        .user
        .ok_or_else(|| refused("a jailed monitor is not root: give it a user and a group of its own"))?;
    let base =
        std::path::absolute(spec.folder.jail()).map_err(VmmError::io(&spec.seat, "finding its folder"))?;
    let unnamed = || refused("its jail cannot be named");
    let id = JailId::new(&id(&spec.seat)).ok_or_else(unnamed)?;
    let shared = [(&spec.kernel, KERNEL), (&spec.initramfs, INITRAMFS)];
    let shared = shared.into_iter().map(|(path, name)| (path, name.to_owned(), Access::Shared));
    let drives = spec.drives.iter().map(|drive| {
        let access = if drive.read_only { Access::Shared } else { Access::Own };
        (&drive.path, name(drive), access)
    });
    let mut files = Vec::new();
    for (path, name, access) in shared.chain(drives) {
        let looking = VmmError::io(&spec.seat, format!("finding {}", path.display()));
        let source = std::path::absolute(path).map_err(looking)?;
        files.push(JailFile { source, name: FileName::new(&name).ok_or_else(unnamed)?, access });
    }
    let mut largest_file = SOME;
    for drive in spec.drives.iter().filter(|drive| !drive.read_only) {
        let looking = VmmError::io(&spec.seat, format!("looking at {}", drive.path.display()));
        largest_file = largest_file.max(fs::metadata(&drive.path).map_err(looking)?.len());
    }
    Ok(JailSpec { base, id, firecracker, user, largest_file, files })
}

/// The VM with the names that its files have in there.
pub(super) fn seen(spec: &VmSpec) -> VmSpec {
    let mut seen = spec.clone();
    seen.kernel = root(KERNEL);
    seen.initramfs = root(INITRAMFS);
    for drive in &mut seen.drives {
        drive.path = root(&name(drive));
    }
    seen
}

/// What a drive is called in there.
fn name(drive: &Drive) -> String {
    format!("{}.img", drive.serial.as_str())
}

fn root(name: &str) -> PathBuf {
    PathBuf::from("/").join(name)
}
