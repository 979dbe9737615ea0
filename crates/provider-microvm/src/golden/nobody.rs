//! What the guest that is saved has in place of a seat's own.
//!
//! A kernel reads the first sectors of its disks when it finds them, for their partitions: what it found, and what it read, would be in every seat that goes on from
//! the snapshot. So it finds disks of the same sizes with nothing on them. A disk that nobody has open has nothing in the kernel's cache any more, so the seats' kernels
//! read their own.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::state::SeatFolder;
use crate::vmm::{MacAddress, VmSpec};

/// The hardware address in a snapshot; a seat has its own from its configuration on.
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0]);

/// Makes a VM nobody's that was to be a seat's: without its hardware address, and with disks of its own in place of those that it may write to, in a folder that
/// [`remove`] removes.
pub(super) fn instead(seat: &SeatFolder, vm: &VmSpec) -> io::Result<VmSpec> {
    let mut nobodys = vm.clone();
    nobodys.nics.iter_mut().for_each(|nic| nic.mac = MAC);
    let folder = seat.nobodys();
    remove(seat)?;
    DirBuilder::new().mode(0o700).create(&folder)?;
    for drive in nobodys.drives.iter_mut().filter(|drive| !drive.read_only) {
        let bytes = fs::metadata(&drive.path)?.len();
        drive.path = empty(&folder, drive.serial.as_str(), bytes)?;
    }
    Ok(nobodys)
}

/// A sparse file without content.
fn empty(folder: &Path, name: &str, bytes: u64) -> io::Result<PathBuf> {
    let path = folder.join(format!("{name}.img"));
    File::options().write(true).create_new(true).mode(0o600).open(&path)?.set_len(bytes)?;
    Ok(path)
}

/// Removes what is left of it.
pub(crate) fn remove(seat: &SeatFolder) -> io::Result<()> {
    super::remove(&seat.nobodys())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::state::StateDir;
    use crate::vmm::{Accelerator, Drive, InterfaceName, LogFile, Nic, Serial};

    #[test]
    fn a_guest_that_is_saved_has_disks_as_large_and_nothing_on_them() {
        let at = tempfile::tempdir().unwrap();
        let seat = seats::SeatRef::new("abc".parse().unwrap(), seats::SeatBound::default().seat(1).unwrap());
        let seat = StateDir::open(at.path()).unwrap().seat(&seat);
        seat.make().unwrap();
        let drive = |serial: &str, read_only| {
            let path = seat.path().join(serial);
            fs::write(&path, serial.repeat(1000)).unwrap();
            Drive { path, serial: Serial::new(serial).unwrap(), read_only, throttle: None }
        };
        let vm = VmSpec {
            seat: "abc/1".into(),
            folder: seat.run(),
            kernel: "/kernel".into(),
            initramfs: "/initramfs".into(),
            command_line: String::new(),
            vcpus: 1,
            memory_mib: 64,
            drives: vec![drive("root", true), drive("scratch", false), drive("data", false)],
            nics: vec![Nic { tap: InterfaceName::new("ctt").unwrap(), mac: MacAddress([2, 1, 1, 1, 1, 1]) }],
            network_namespace: None,
            user: None,
            cgroup: None,
            console: LogFile { path: seat.console(), max_bytes: 4096, files: 1 },
            accelerator: Accelerator::Auto,
        };
        // What another one left is in nobody's way.
        for _ in 0..2 {
            let nobodys = instead(&seat, &vm).unwrap();
            assert_eq!(nobodys.nics[0].mac, MAC);
            assert_eq!(nobodys.drives[0].path, vm.drives[0].path);
            for (own, nobodys) in vm.drives.iter().zip(&nobodys.drives).skip(1) {
                let about = fs::metadata(&nobodys.path).unwrap();
                assert!(nobodys.path.starts_with(seat.nobodys()));
                assert_eq!((about.len(), about.blocks()), (fs::metadata(&own.path).unwrap().len(), 0));
            }
        }
        remove(&seat).unwrap();
        remove(&seat).unwrap();
        assert!(!seat.nobodys().exists() && vm.drives.iter().all(|drive| drive.path.exists()));
    }
}
