//! The archive that Linux unpacks into its first root: cpio's "new ASCII" format
//! (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
//!
//! ```text
//!   070701, thirteen numbers of eight hexadecimal digits │ name, NUL │ up to 4 │ content │ up to 4 │ next entry … TRAILER!!!
//! ```
//!
//! The same calls give the same bytes: everything belongs to root and is from 1970, and inodes are counted from 1.

/// The type bits of a mode (inode(7)).
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_000;
/// The permissions that a mode may have.
const PERMISSIONS: u32 = 0o7777;
/// The kernel's own bound on a name, its last NUL included (`PATH_MAX`).
const MAX_NAME: usize = 4096;
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows, in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

/// An entry that the format or the kernel has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpioError {
    /// A name that is empty, absolute, too long, holds a NUL or a step upwards, or means the end of the archive.
    #[error("{0:?} cannot be the name of a file in an initramfs")]
    Name(String),
    /// A file of 4 GiB or more.
    #[error("{name} has {size} bytes, and an initramfs has room for less than 4 GiB a file")]
    Size {
        /// Which.
        name: String,
        /// Its size in bytes.
        size: usize,
    },
}

impl Archive {
    /// Adds a folder, mode 0755. The kernel makes no folder by itself: it must come before what is in it.
    ///
    /// # Errors
    /// When the name is none.
    pub fn folder(&mut self, name: &str) -> Result<&mut Self, CpioError> {
        self.entry(name, FOLDER | 0o755, (0, 0), &[])
    }

    /// Adds a file with the permission bits of `mode`.
    ///
    /// # Errors
    /// When the name is none, or the content has 4 GiB or more.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<&mut Self, CpioError> {
        self.entry(name, FILE | (mode & PERMISSIONS), (0, 0), content)
    }

    /// Adds a character device, mode 0600.
    ///
    /// # Errors
    /// When the name is none.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<&mut Self, CpioError> {
        self.entry(name, DEVICE | 0o600, (major, minor), &[])
    }

    /// The whole archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.write(TRAILER, 0, (0, 0), 0, &[]);
        self.bytes
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<&mut Self, CpioError> {
        let steps = || name.split('/');
        let bad = name.is_empty()
            || name == TRAILER
            || name.len() >= MAX_NAME
            || name.contains('\0')
            || steps().any(|step| matches!(step, "" | "." | ".."));
        if bad {
            return Err(CpioError::Name(name.into()));
        }
        let size = u32::try_from(content.len())
            .map_err(|_| CpioError::Size { name: name.into(), size: content.len() })?;
        self.write(name, mode, device, size, content);
        Ok(self)
    }

    fn write(&mut self, name: &str, mode: u32, device: (u32, u32), size: u32, content: &[u8]) {
        self.inode += 1;
        // magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let numbers = format!(
            "070701{:08x}{mode:08x}{zero}{zero}{:08x}{zero}{size:08x}{zero}{zero}{:08x}{:08x}{:08x}{zero}",
            self.inode,
            1,
            device.0,
            device.1,
            name.len() + 1,
            zero = "00000000",
        );
        self.bytes.extend_from_slice(numbers.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_110_bytes_and_everything_begins_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"12345").unwrap().folder("a").unwrap();
        let bytes = archive.finish();
        assert_eq!(&bytes[..22], b"07070100000001000081ed");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[94..102], b"00000005");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..124], b"12345\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let long = "a/".repeat(2048) + "b";
        for name in ["", "/init", "a//b", "a/", ".", "../a", "a/../b", "a\0b", "TRAILER!!!", &long] {
            let refused = Archive::default().file(name, 0o644, b"").map(|_| ()).unwrap_err();
            assert_eq!(refused, CpioError::Name(name.into()));
        }
        assert_eq!(Archive::default().finish().len(), 124);
    }

    #[test]
    fn a_mode_is_only_permissions() {
        let mut archive = Archive::default();
        archive.file("a", 0o040_755, b"").unwrap();
        assert_eq!(&archive.finish()[14..22], b"000081ed");
    }
}
