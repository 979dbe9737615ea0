//! QEMU's program: where it is and which version.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::vmm::{BinaryTrouble, VmmError, program};

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Version {
    /// Its first number.
    pub major: u32,
    /// Its second.
    pub minor: u32,
    /// Its third.
    pub micro: u32,
}

/// The oldest that is accepted: that of the oldest distributions still looked after. Tests run with 7.2.
const LEAST: Version = Version { major: 6, minor: 2, micro: 0 };

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

impl Version {
    /// Reads `QEMU emulator version 7.2.22 (Debian …)`.
    fn parse(said: &str) -> Option<Self> {
        let (_, rest) = said.lines().next()?.split_once("QEMU emulator version ")?;
        let number = rest.split(|char: char| char != '.' && !char.is_ascii_digit()).next()?;
        let mut numbers = number.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let micro = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor, micro })
    }
}

/// The full path of a program: as it is when it has a folder, else from the `PATH`.
pub(super) fn find(named: &Path) -> Result<PathBuf, VmmError> {
    let missing = || VmmError::Binary { program: named.to_owned(), trouble: BinaryTrouble::Missing };
    program::find(named).ok_or_else(missing)
}

/// Asks a program for its version, and checks it.
pub(super) async fn check(path: &Path) -> Result<Version, VmmError> {
    let trouble = |trouble| VmmError::Binary { program: path.to_owned(), trouble };
    let said = match program::version(path).await {
        Ok(said) => said,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(trouble(BinaryTrouble::Missing)),
        Err(why) => return Err(trouble(BinaryTrouble::NotExecutable(why))),
    };
    match Version::parse(&said.output) {
        Some(found) if found >= LEAST => Ok(found),
        Some(found) => Err(trouble(BinaryTrouble::TooOld { found, least: LEAST })),
        None => Err(trouble(BinaryTrouble::Unknown(said.all))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let version = |said| Version::parse(said).map(|version| version.to_string());
        assert_eq!(
            version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b2)\nCopyright"),
            Some("7.2.22".into())
        );
        assert_eq!(version("QEMU emulator version 10.0.50"), Some("10.0.50".into()));
        assert_eq!(version("QEMU emulator version 9.1-rc2"), Some("9.1.0".into()));
        assert_eq!(version("GNU bash, version 5.2"), None);
        assert_eq!(version(""), None);
        assert!(Version { major: 10, minor: 0, micro: 0 } > LEAST);
        assert!(Version { major: 5, minor: 2, micro: 0 } < LEAST);
    }

    #[tokio::test]
    async fn programs_that_are_no_qemu_are_named_with_what_to_do() {
        let said =
            |program: &'static str| async move { check(Path::new(program)).await.unwrap_err().to_string() };
        assert!(said("/no/such/qemu").await.starts_with("/no/such/qemu: not found: install QEMU"));
        assert!(said("/etc/passwd").await.contains("cannot be run: Permission denied"));
        assert!(said("/bin/true").await.contains("does not look like QEMU"));
        let missing = find(Path::new("no-such-qemu-at-all")).unwrap_err().to_string();
        assert!(missing.starts_with("no-such-qemu-at-all: not found: install QEMU"), "{missing}");
        assert_eq!(find(Path::new("/bin/true")).unwrap(), Path::new("/bin/true"));
    }

    #[tokio::test]
    async fn an_old_one_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("qemu-system-x86_64");
        std::fs::write(&old, "#!/bin/sh\necho QEMU emulator version 4.2.1\n").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = check(&old).await.unwrap_err().to_string();
        assert!(said.ends_with("is QEMU 4.2.1, and at least 6.2.0 is needed"), "{said}");
    }
}
