//! Looks at the jailer, at the program that it is to run, and at what this process may do.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use crate::vmm::firecracker::Version;
use crate::vmm::{BinaryTrouble, VmmError, program};

/// As much of a program as its headers are looked for in, in bytes.
const HEADERS: u64 = 64 * 1024;
/// What staging and the jailer need (capabilities(7)): namespaces and mounts, device nodes, the monitor's user, and what belongs to him.
const POWERS: [(CapabilitySet, &str); 7] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::MKNOD, "CAP_MKNOD"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
];

/// The full path of a jailer that is given by its path, or by a name that is looked for in the `PATH`.
///
/// # Errors
/// [`VmmError::Binary`] when it is not there.
pub(in crate::vmm) fn find(jailer: &Path) -> Result<PathBuf, VmmError> {
    let missing = || VmmError::Binary { program: jailer.to_owned(), trouble: BinaryTrouble::NoJailer };
    program::find(jailer).ok_or_else(missing)
}

/// Asks a jailer for the version of Firecracker that it goes with (docs/jailer.md of Firecracker).
///
/// # Errors
/// [`VmmError::Binary`] with what is wrong with it and what to do.
pub(in crate::vmm) async fn check(jailer: &Path) -> Result<Version, VmmError> {
    let trouble = |trouble| VmmError::Binary { program: jailer.to_owned(), trouble };
    let said = match program::version(jailer).await {
        Ok(said) => said,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(trouble(BinaryTrouble::NoJailer)),
        Err(why) => return Err(trouble(not_run(jailer, why))),
    };
    let first = said.output.lines().next().and_then(|line| line.strip_prefix("Jailer "));
    first.and_then(Version::parse).ok_or_else(|| trouble(BinaryTrouble::NotJailer(said.all)))
}

/// Why the kernel does not run a program, from its answer.
pub(in crate::vmm) fn not_run(program: &Path, why: io::Error) -> BinaryTrouble {
    // What the kernel does not run may tell what does.
    let foreign = why.raw_os_error() == Some(Errno::NOEXEC.raw_os_error());
    foreign.then(|| fits(program).err()).flatten().unwrap_or(BinaryTrouble::NotExecutable(why))
}

/// Looks whether a Firecracker can run in a jail of this host. The path is given back absolute and without links.
///
/// # Errors
/// [`VmmError::Binary`] with what is wrong with it and what to do.
pub(in crate::vmm) fn jailable(firecracker: &Path) -> Result<PathBuf, VmmError> {
    let wrong = |trouble| VmmError::Binary { program: firecracker.to_owned(), trouble };
    let path = firecracker.canonicalize().map_err(BinaryTrouble::NotExecutable).map_err(wrong)?;
    fits(&path).map(|()| path).map_err(wrong)
}

/// Whether this process may do what staging and the jailer do.
///
/// # Errors
/// [`VmmError::Powerless`] with what lacks.
pub(in crate::vmm) fn powers() -> Result<(), VmmError> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let lacking = lacking(effective);
    if lacking.is_empty() { Ok(()) } else { Err(VmmError::Powerless { lacking }) }
}

fn lacking(effective: CapabilitySet) -> Vec<&'static str> {
    POWERS.iter().filter(|(power, _)| !effective.contains(*power)).map(|(_, name)| *name).collect()
}

/// Whether a program can run in a jail of this host.
fn fits(program: &Path) -> Result<(), BinaryTrouble> {
    let mut bytes = Vec::new();
    let read = File::open(program).and_then(|file| {
        let mode = file.metadata()?.permissions().mode();
        file.take(HEADERS).read_to_end(&mut bytes)?;
        Ok(mode)
    });
    if read.map_err(BinaryTrouble::NotExecutable)? & 0o111 == 0 {
        return Err(BinaryTrouble::NotExecutable(io::ErrorKind::PermissionDenied.into()));
    }
    let machine = machine(&bytes).ok_or(BinaryTrouble::NoProgram)?;
    if machine != std::env::consts::ARCH {
        return Err(BinaryTrouble::OtherProcessor { found: machine });
    }
    match has_loader(&bytes) {
        Some(false) => Ok(()),
        Some(true) => Err(BinaryTrouble::NotStatic),
        None => Err(BinaryTrouble::NoProgram),
    }
}

/// The processor that an ELF file is for (elf(5)), as Rust calls it.
fn machine(bytes: &[u8]) -> Option<String> {
    const LITTLE_ENDIAN: u8 = 1;
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    if bytes.get(5) != Some(&LITTLE_ENDIAN) {
        return Some("another byte order".into());
    }
    let number = number::<2>(bytes, 18)?;
    Some(match number {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        other => format!("the processor with the number {other} of ELF"),
    })
}

/// Whether an ELF64 names a loader (`PT_INTERP`), as programs do that are not static; nothing when its headers are not whole.
fn has_loader(bytes: &[u8]) -> Option<bool> {
    const INTERP: u64 = 3;
    let (first, size, count) = (number::<8>(bytes, 32)?, number::<2>(bytes, 54)?, number::<2>(bytes, 56)?);
    let mut kinds = (0..count).map(|index| {
        let at = first.checked_add(index.checked_mul(size)?)?;
        number::<4>(bytes, usize::try_from(at).ok()?)
    });
    kinds.try_fold(false, |found, kind| Some(found || kind? == INTERP))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(jailer: &str) -> String {
        let path = match find(Path::new(jailer)) {
            Ok(path) => path,
            Err(why) => return why.to_string(),
        };
        check(&path).await.map_or_else(|why| why.to_string(), |version| version.to_string())
    }

    #[tokio::test]
    async fn programs_that_are_no_jailer_are_named_with_what_to_do() {
        assert!(
            said("/no/such/jailer").await.starts_with("/no/such/jailer: not found: it is beside firecracker")
        );
        assert!(said("no-such-jailer-at-all").await.starts_with("no-such-jailer-at-all: not found:"));
        assert!(said("/etc/passwd").await.contains("/etc/passwd: cannot be run: Permission denied"));
        assert!(said("true").await.contains("does not look like Firecracker's jailer"));
        let folder = tempfile::tempdir().unwrap();
        let jailer = folder.path().join("jailer");
        for (version, found) in [("1.16.1", "1.16.1"), ("1.17.0-dev", "1.17.0")] {
            std::fs::write(&jailer, format!("#!/bin/sh\necho Jailer v{version}\necho\n")).unwrap();
            std::fs::set_permissions(&jailer, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(said(jailer.to_str().unwrap()).await, found);
        }
    }

    /// The headers of a program: for this processor, with segments of these kinds.
    fn program(machine: u16, segments: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
        for kind in segments {
            let mut segment = [0; 56];
            segment[..4].copy_from_slice(&kind.to_le_bytes());
            bytes.extend(segment);
        }
        bytes
    }

    #[test]
    fn only_a_static_program_for_this_processor_fits() {
        let here = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        let other = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("firecracker");
        let said = |bytes: &[u8], mode| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            fits(&path).map_or_else(|trouble| trouble.to_string(), |()| "fits".into())
        };
        let good = program(here, &[1, 2, 1]);
        assert_eq!(said(&good, 0o755), "fits");
        assert!(said(&good, 0o644).starts_with("cannot be run: permission denied"));
        assert!(said(&program(here, &[1, 3]), 0o755).starts_with("is not static"));
        let foreign = said(&program(other, &[1]), 0o755);
        assert!(
            foreign.starts_with("is a program for ") && foreign.contains(std::env::consts::ARCH),
            "{foreign}"
        );
        for end in [0, 3, 17, 40, 70, good.len() - 56] {
            assert_eq!(said(&good[..end], 0o755), "is no ELF program", "{end}");
        }
        assert_eq!(said(b"#!/bin/sh\n", 0o755), "is no ELF program");
    }

    #[tokio::test]
    async fn a_jailer_for_another_processor_is_told_as_that() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jailer");
        let other = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
        std::fs::write(&path, program(other, &[1])).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = said(path.to_str().unwrap()).await;
        assert!(said.contains("is a program for ") && said.contains("take the release for that"), "{said}");
    }

    #[test]
    fn powers_that_lack_are_named() {
        assert!(lacking(CapabilitySet::all()).is_empty());
        let some = CapabilitySet::all() - CapabilitySet::MKNOD - CapabilitySet::SYS_ADMIN;
        let why = VmmError::Powerless { lacking: lacking(some) }.to_string();
        assert!(
            why.starts_with("VMs cannot be jailed without CAP_SYS_ADMIN, CAP_MKNOD: run the service as root"),
            "{why}"
        );
        assert_eq!(lacking(CapabilitySet::empty()).len(), POWERS.len());
    }
}
