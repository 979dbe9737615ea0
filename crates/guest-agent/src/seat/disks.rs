//! Disks, by what their serial number says they are for: their own, or that of their place where the host has told the order.

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::MountFlags;

use super::wait_for;
use crate::sys;

/// How long a disk may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// The disks of a machine.
#[derive(Debug)]
pub(super) struct Disks {
    /// Their serial numbers in the order in which they are attached; nothing: each tells its own.
    order: Option<Vec<String>>,
}

/// A disk by its name in `/sys/block`.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    serial: &'static str,
    name: String,
}

impl Disks {
    pub(super) fn new(order: Option<Vec<String>>) -> Self {
        Self { order }
    }

    /// The disk with this serial number.
    pub(super) fn find(&self, serial: &'static str) -> Result<Disk, String> {
        let block = Path::new("/sys/block");
        let found = match &self.order {
            None => wait_for(PATIENCE, || Ok(named(block, serial))),
            Some(order) => match place(order, serial) {
                Some(name) => wait_for(PATIENCE, || Ok(block.join(&name).exists().then(|| name.clone()))),
                None => Ok(None),
            },
        };
        match found {
            Ok(Some(name)) => Ok(Disk { serial, name }),
            Ok(None) => {
                Err(format!("no disk has the serial number {serial:?}: the machine was started without it"))
            }
            Err(why) => Err(format!("the disk {serial:?} cannot be looked for: {why}")),
        }
    }
}

impl Disk {
    fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Mounts its ext4 file system.
    pub(super) fn mount(&self, at: &Path, read_only: bool) -> Result<(), String> {
        let mut flags = MountFlags::NODEV;
        flags.set(MountFlags::RDONLY, read_only);
        rustix::mount::mount(self.device(), at, "ext4", flags, None).map_err(|why| {
            format!(
                "the disk {:?} ({}) has no ext4 file system that can be mounted: {why}",
                self.serial, self.name
            )
        })
    }

    /// Makes its mounted file system as large as the disk. A smaller disk than file system is left alone: it was mounted.
    pub(super) fn grow(&self, mounted: &Path) -> Result<(), String> {
        let grown = (|| {
            let sectors = fs::read_to_string(Path::new("/sys/block").join(&self.name).join("size"))?;
            let bytes = sectors.trim().parse::<u64>().unwrap_or(0) * 512;
            let has = Size::read(&mut File::open(self.device())?)?;
            let room = bytes / has.block;
            if room > has.blocks { sys::grow_ext4(File::open(mounted)?, room) } else { Ok(()) }
        })();
        grown.map_err(|why| {
            format!("the file system of the disk {:?} cannot be made as large as it: {why}", self.serial)
        })
    }
}

/// The name of the block device with this serial number.
fn named(block: &Path, serial: &str) -> Option<String> {
    let entries = fs::read_dir(block).ok()?;
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names.into_iter().find(|name| {
        fs::read_to_string(block.join(name).join("serial")).is_ok_and(|text| text.trim() == serial)
    })
}

/// The name of the block device that is attached at the place of this serial number: the kernel gives virtio's letters in that order.
fn place(order: &[String], serial: &str) -> Option<String> {
    let number = order.iter().position(|known| known == serial)?;
    let letter = char::from(b'a' + u8::try_from(number).ok().filter(|number| *number < 26)?);
    Some(format!("vd{letter}"))
}

/// How large a file system is.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    blocks: u64,
    /// In bytes.
    block: u64,
}

impl Size {
    /// Reads it from the superblock (kernel: filesystems/ext4/globals.html).
    fn read(device: &mut (impl io::Read + io::Seek)) -> io::Result<Self> {
        let mut block = [0; 1024];
        device.seek(SeekFrom::Start(1024))?;
        device.read_exact(&mut block)?;
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let (magic, incompatible) = (u16::from_le_bytes([block[0x38], block[0x39]]), word(0x60));
        // Above 64 KiB it would be no block size.
        if magic != 0xef53 || word(0x18) > 6 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no ext4"));
        }
        // The upper half counts with the feature of 64 bits.
        let high = if incompatible & 0x80 != 0 { u64::from(word(0x150)) } else { 0 };
        Ok(Self { blocks: high << 32 | u64::from(word(0x4)), block: 1024 << word(0x18) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn disks_are_found_by_their_serial_number() {
        let block = tempfile::tempdir().unwrap();
        for (name, serial) in [("vda", Some("root")), ("vdb", Some("data\n")), ("loop0", None)] {
            fs::create_dir(block.path().join(name)).unwrap();
            if let Some(serial) = serial {
                fs::write(block.path().join(name).join("serial"), serial).unwrap();
            }
        }
        assert_eq!(named(block.path(), "data").as_deref(), Some("vdb"));
        assert_eq!(named(block.path(), "root").as_deref(), Some("vda"));
        assert_eq!(named(block.path(), "scratch"), None);
        assert_eq!(named(block.path(), ""), None);
    }

    #[test]
    fn disks_without_a_serial_number_are_found_by_their_place() {
        let order = ["root", "scratch", "data"].map(str::to_owned);
        assert_eq!(place(&order, "root").as_deref(), Some("vda"));
        assert_eq!(place(&order, "data").as_deref(), Some("vdc"));
        assert_eq!(place(&order, "other"), None);
        let many: Vec<_> = (0..27).map(|number| number.to_string()).collect();
        assert_eq!(place(&many, "25").as_deref(), Some("vdz"));
        assert_eq!(place(&many, "26"), None);
        let why = Disks::new(Some(Vec::new())).find("root").unwrap_err();
        assert_eq!(why, "no disk has the serial number \"root\": the machine was started without it");
    }

    #[test]
    fn the_size_is_in_the_superblock() {
        let mut disk = vec![0; 2048];
        assert!(Size::read(&mut Cursor::new(&disk)).is_err());
        disk[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        disk[1024 + 0x4] = 7;
        disk[1024 + 0x18] = 2;
        disk[1024 + 0x150] = 1;
        assert_eq!(Size::read(&mut Cursor::new(&disk)).unwrap(), Size { blocks: 7, block: 4096 });
        disk[1024 + 0x60] = 0x80;
        assert_eq!(Size::read(&mut Cursor::new(&disk)).unwrap().blocks, (1 << 32) + 7);
        assert!(Size::read(&mut Cursor::new(&disk[..1500])).is_err());
    }
}
