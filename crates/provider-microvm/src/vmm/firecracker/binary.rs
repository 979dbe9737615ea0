//! Firecracker's program: which version it is, and which kernels that takes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::Version;
use crate::vmm::{BinaryTrouble, VmmError, jail, program};

/// The first version that loads bzImages (CHANGELOG.md of Firecracker).
const BZIMAGE: Version = Version { major: 1, minor: 17, patch: 0 };
/// Where a bzImage says that it is one, and what it says (boot.rst of the kernel).
const SETUP: (usize, &[u8]) = (0x202, b"HdrS");

/// Asks a program for its version, and checks it.
pub(super) async fn check(path: &Path) -> Result<Version, VmmError> {
    let trouble = |trouble| VmmError::Binary { program: path.to_owned(), trouble };
    let said = match program::version(path).await {
        Ok(said) => said,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            return Err(trouble(BinaryTrouble::NoFirecracker));
        }
        Err(why) => return Err(trouble(jail::not_run(path, why))),
    };
    let first = said.output.lines().next().and_then(|line| line.strip_prefix("Firecracker "));
    match first.and_then(Version::parse) {
        Some(found) if found >= Version::LEAST => Ok(found),
        Some(found) => Err(trouble(BinaryTrouble::OldFirecracker { found })),
        None => Err(trouble(BinaryTrouble::NotFirecracker(said.all))),
    }
}

/// Says why a version cannot load a kernel, before it is started to find that out.
pub(crate) fn check_kernel(version: Version, kernel: &Path) -> io::Result<Result<(), String>> {
    let mut begin = Vec::new();
    File::open(kernel)?.take(1024).read_to_end(&mut begin)?;
    let name = kernel.display();
    let (at, mark) = SETUP;
    if begin.starts_with(b"\x7fELF") {
        return Ok(Ok(()));
    }
    if begin.get(at..).is_some_and(|rest| rest.starts_with(mark)) {
        let why = format!(
            "the kernel {name} is a bzImage, which Firecracker {version} cannot load: give it an ELF vmlinux, or install Firecracker {BZIMAGE}"
        );
        return Ok(if version >= BZIMAGE { Ok(()) } else { Err(why) });
    }
    Ok(Err(format!("the kernel {name} is neither an ELF vmlinux nor a bzImage")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn programs_that_cannot_be_used_are_named_with_what_to_do() {
        let said =
            |program: &'static str| async move { check(Path::new(program)).await.unwrap_err().to_string() };
        assert!(
            said("/no/such/firecracker")
                .await
                .starts_with("/no/such/firecracker: not found: install Firecracker")
        );
        assert!(said("/etc/passwd").await.contains("cannot be run: Permission denied"));
        assert!(said("/bin/true").await.contains("does not look like Firecracker"));
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firecracker");
        let write = |text: &[u8]| {
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write(b"#!/bin/sh\necho Firecracker v1.15.1\n");
        let why = check(&program).await.unwrap_err().to_string();
        assert!(
            why.ends_with("is Firecracker 1.15.1, and at least 1.16.0 is needed: install a newer one"),
            "{why}"
        );
        write(b"#!/bin/sh\necho Firecracker v1.17.0-dev\necho\n");
        assert_eq!(check(&program).await.unwrap().to_string(), "1.17.0");
        // A program for another processor, as far as its header.
        let (other, name) = if cfg!(target_arch = "x86_64") { (183, "aarch64") } else { (62, "x86_64") };
        let elf = |machine| [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0"[..], &[machine, 0]].concat();
        write(&elf(other));
        let why = check(&program).await.unwrap_err().to_string();
        assert!(why.contains(&format!("is a program for {name}, and this host is")), "{why}");
        // One that is for this one, and no more than its header.
        write(&elf(if other == 62 { 183 } else { 62 }));
        let why = check(&program).await.unwrap_err().to_string();
        assert!(why.ends_with("is no ELF program"), "{why}");
    }

    #[test]
    fn kernels_are_told_by_how_they_begin() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        let said = |text: &str, begin: &[u8]| {
            std::fs::write(&kernel, begin).unwrap();
            check_kernel(Version::parse(text).unwrap(), &kernel).unwrap()
        };
        let mut bzimage = vec![0; 0x202];
        bzimage.extend(b"HdrS and more");
        said("1.16.1", b"\x7fELF and more").unwrap();
        said("1.17.0", &bzimage).unwrap();
        assert!(
            said("1.16.1", &bzimage)
                .unwrap_err()
                .contains("is a bzImage, which Firecracker 1.16.1 cannot load")
        );
        assert!(said("1.17.0", b"").unwrap_err().ends_with("is neither an ELF vmlinux nor a bzImage"));
        assert!(check_kernel(Version::LEAST, &folder.path().join("none")).is_err());
    }
}
