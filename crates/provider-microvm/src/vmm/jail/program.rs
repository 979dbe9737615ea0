//! Looks at the jailer, at the program that it is to run, and at what this process may do.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use tokio::process::Command;
use tokio::time::timeout;

use super::{JailError, ProgramTrouble};
use crate::vmm::qemu::Version;

/// The oldest jailer that is accepted: that of the oldest Firecracker that is, and the two go together (Firecracker's docs/jailer.md).
const LEAST: Version = Version { major: 1, minor: 16, micro: 0 };
/// How long `--version` may take.
const PATIENCE: Duration = Duration::from_secs(30);
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

/// Looks at the jailer and at the Firecracker that is to run in jails: each by a path, or by a name that is looked for in the `PATH`. The paths are
/// given back absolute and without links, and the jailer's version.
///
/// # Errors
/// [`JailError::Program`] with what is wrong with one and what to do.
pub async fn check(jailer: &Path, firecracker: &Path) -> Result<(PathBuf, PathBuf, Version), JailError> {
    let wrong = |program: &Path| {
        let program = program.to_owned();
        move |trouble| JailError::Program { program, trouble }
    };
    let (jailer, firecracker) =
        (find(jailer).map_err(wrong(jailer))?, find(firecracker).map_err(wrong(firecracker))?);
    let version = version(&jailer).await.map_err(wrong(&jailer))?;
    fits(&firecracker).map_err(wrong(&firecracker))?;
    Ok((jailer, firecracker, version))
}

/// Whether this process may do what staging and the jailer do.
///
/// # Errors
/// [`JailError::Powerless`] with what lacks.
pub fn powers() -> Result<(), JailError> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let lacking = lacking(effective);
    if lacking.is_empty() { Ok(()) } else { Err(JailError::Powerless { lacking }) }
}

fn lacking(effective: CapabilitySet) -> Vec<&'static str> {
    POWERS.iter().filter(|(power, _)| !effective.contains(*power)).map(|(_, name)| *name).collect()
}

fn find(program: &Path) -> Result<PathBuf, ProgramTrouble> {
    let path = if program.components().count() > 1 {
        program.to_owned()
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
        found.ok_or(ProgramTrouble::Missing)?
    };
    match path.canonicalize() {
        Ok(path) if path.is_file() => Ok(path),
        Ok(_) => Err(ProgramTrouble::NoProgram),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Err(ProgramTrouble::Missing),
        Err(why) => Err(ProgramTrouble::NotExecutable(why)),
    }
}

async fn version(jailer: &Path) -> Result<Version, ProgramTrouble> {
    let mut command = Command::new(jailer);
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stdout);
            judged(&said, &String::from_utf8_lossy(&output.stderr))
        }
        Ok(Err(why)) if why.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            // What the kernel does not run may tell what does.
            fits(jailer)?;
            Err(ProgramTrouble::NotExecutable(why))
        }
        Ok(Err(why)) => Err(ProgramTrouble::NotExecutable(why)),
        Err(_) => Err(ProgramTrouble::Unknown("nothing for half a minute".into())),
    }
}

/// The version in `Jailer v1.16.1`, when it is one that will do.
fn judged(said: &str, complaint: &str) -> Result<Version, ProgramTrouble> {
    let unknown = || ProgramTrouble::Unknown(format!("{said}{complaint}").trim().chars().take(200).collect());
    let number = said.lines().next().and_then(|line| line.strip_prefix("Jailer v")).ok_or_else(unknown)?;
    let number = number.split(|char: char| char != '.' && !char.is_ascii_digit()).next().unwrap_or_default();
    let mut numbers = number.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return Err(unknown()) };
    let micro = numbers.next().and_then(Result::ok).unwrap_or(0);
    let found = Version { major, minor, micro };
    if found < LEAST { Err(ProgramTrouble::TooOld { found, least: LEAST }) } else { Ok(found) }
}

/// Whether a program can run in a jail of this host.
fn fits(program: &Path) -> Result<(), ProgramTrouble> {
    let mut bytes = Vec::new();
    let read = File::open(program).and_then(|file| {
        let mode = file.metadata()?.permissions().mode();
        file.take(HEADERS).read_to_end(&mut bytes)?;
        Ok(mode)
    });
    if read.map_err(ProgramTrouble::NotExecutable)? & 0o111 == 0 {
        return Err(ProgramTrouble::NotExecutable(io::ErrorKind::PermissionDenied.into()));
    }
    let machine = machine(&bytes).ok_or(ProgramTrouble::NoProgram)?;
    if machine != std::env::consts::ARCH {
        return Err(ProgramTrouble::OtherProcessor { found: machine });
    }
    match has_loader(&bytes) {
        Some(false) => Ok(()),
        Some(true) => Err(ProgramTrouble::NotStatic),
        None => Err(ProgramTrouble::NoProgram),
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

    async fn said(jailer: &str, firecracker: &Path) -> String {
        check(Path::new(jailer), firecracker).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn programs_that_are_no_jailer_are_named_with_what_to_do() {
        let sh = Path::new("/bin/sh");
        assert!(
            said("/no/such/jailer", sh).await.starts_with("/no/such/jailer: not found: unpack a release")
        );
        assert!(said("no-such-jailer-at-all", sh).await.starts_with("no-such-jailer-at-all: not found:"));
        assert!(said("/etc", sh).await.ends_with("/etc: is no ELF program"));
        assert!(said("/etc/passwd", sh).await.contains("/etc/passwd: cannot be run: Permission denied"));
        assert!(said("true", sh).await.contains("does not look like Firecracker's jailer"));
    }

    #[test]
    fn versions_are_read_and_old_ones_refused() {
        let said = |said: &str| match judged(said, "") {
            Ok(version) => version.to_string(),
            Err(trouble) => trouble.to_string(),
        };
        assert_eq!(said("Jailer v1.16.1\n\n"), "1.16.1");
        assert_eq!(said("Jailer v1.17.0-dev\n"), "1.17.0");
        assert_eq!(said("Jailer v2.0"), "2.0.0");
        assert_eq!(said("Jailer v1.15.1"), "is version 1.15.1, and at least 1.16.0 is needed");
        assert!(said("Firecracker v1.16.1").starts_with("does not look like Firecracker's jailer"));
        assert!(said("").starts_with("does not look like"));
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
        let said = said(path.to_str().unwrap(), Path::new("/bin/sh")).await;
        assert!(said.contains("is a program for ") && said.contains("take the release for that"), "{said}");
    }

    #[test]
    fn powers_that_lack_are_named() {
        assert!(lacking(CapabilitySet::all()).is_empty());
        let some = CapabilitySet::all() - CapabilitySet::MKNOD - CapabilitySet::SYS_ADMIN;
        let why = JailError::Powerless { lacking: lacking(some) }.to_string();
        assert!(
            why.starts_with("VMs cannot be jailed without CAP_SYS_ADMIN, CAP_MKNOD: run the service as root"),
            "{why}"
        );
        assert_eq!(lacking(CapabilitySet::empty()).len(), POWERS.len());
    }
}
