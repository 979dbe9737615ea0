//! A guest without an operating system, made from a page of assembly: for monitors and machines that run no stock kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{BootError, paths, tool};

/// A guest that says [`BareMetal::GREETING`] on its first serial port, sends each line back behind its number (`3 line`), counted in its memory, and
/// resets the machine after the line `reset`, or after a key was pressed, which it says too (`3 key`). It needs 2 MiB of memory and an
/// x86-64 processor; it knows no disks and no network.
#[derive(Clone, Copy, Debug)]
pub struct BareMetal;

impl BareMetal {
    /// What it says when it runs.
    pub const GREETING: &str = "hello from bare metal";

    /// Makes it in a folder, with the assembler and the linker of this machine, as an ELF64 with its segment at 1 MiB and nothing below.
    ///
    /// # Errors
    /// [`BootError::Missing`] where there is no assembler or linker, or the processor is another; else what they said.
    pub fn build(folder: &Path) -> Result<PathBuf, BootError> {
        if let Some(why) = Self::missing() {
            return Err(BootError::Missing(why));
        }
        let (source, layout) = (folder.join("guest.s"), folder.join("guest.ld"));
        fs::write(&source, include_str!("metal/guest.s")).map_err(BootError::io(&source))?;
        fs::write(&layout, include_str!("metal/guest.ld")).map_err(BootError::io(&layout))?;
        let (object, guest) = (folder.join("guest.o"), folder.join("guest.elf"));
        tool::run(Command::new(ASSEMBLER).args(["--64", "--fatal-warnings", "-o"]).args([&object, &source]))?;
        let mut linker = Command::new(LINKER);
        linker.args(["-nostdlib", "-static", "-z", "max-page-size=4096", "-T"]);
        tool::run(linker.arg(&layout).arg("-o").args([&guest, &object]))?;
        Ok(guest)
    }

    /// Why it cannot be made here.
    pub(crate) fn missing() -> Option<String> {
        if cfg!(not(target_arch = "x86_64")) {
            return Some("the bare-metal guest is one for x86-64".into());
        }
        let missing = |program: &&str| !paths::is_installed(program);
        let missing = [ASSEMBLER, LINKER].iter().find(|program| missing(program))?;
        Some(format!("no {missing}, which makes the bare-metal guest: install binutils"))
    }
}

const ASSEMBLER: &str = "as";
const LINKER: &str = "ld";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs;

    /// The number at a place of an ELF64's headers (elf(5)), which are of this processor's byte order.
    fn at<const N: usize>(file: &[u8], offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&file[offset..offset + N]);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn it_is_one_segment_at_a_mebibyte() {
        if !needs::can_run(&[needs::Need::BareMetal]) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = fs::read(BareMetal::build(folder.path()).unwrap()).unwrap();
        assert!(file.starts_with(b"\x7fELF\x02\x01"));
        let (entry, headers, number) = (at::<8>(&file, 24), at::<8>(&file, 32), at::<2>(&file, 56));
        assert_eq!((entry, number), (0x10_0000, 1));
        let header = &file[usize::try_from(headers).unwrap()..];
        let (kind, flags, physical) = (at::<4>(header, 0), at::<4>(header, 4), at::<8>(header, 24));
        assert_eq!((kind, flags, physical), (1, 7, 0x10_0000));
        let in_memory = at::<8>(header, 40);
        assert!(in_memory < 1 << 20, "{in_memory}");
        assert!(file.windows(BareMetal::GREETING.len()).any(|part| part == BareMetal::GREETING.as_bytes()));
    }
}
