//! As much of ELF as is needed to say why a program cannot begin (elf(5)).

use std::io::{Read, Seek, SeekFrom};

/// What a program's file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// For a processor, and perhaps with a loader.
    Elf { machine: &'static str, ours: bool, loader: Option<String> },
    /// A text that names its interpreter.
    Script(String),
    /// Nothing of the kind.
    Neither,
}

const PT_INTERP: u32 = 3;
/// The most headers of a program that are looked at.
const HEADERS: u16 = 64;

/// Looks at a program's file.
pub(super) fn look(file: &mut (impl Read + Seek)) -> std::io::Result<Program> {
    let mut head = Vec::new();
    file.take(256).read_to_end(&mut head)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let interpreter = text.split_whitespace().next().unwrap_or_default().trim_end_matches('\r');
        return Ok(Program::Script(interpreter.to_owned()));
    }
    if !head.starts_with(b"\x7fELF") || head.len() < 64 {
        return Ok(Program::Neither);
    }
    let (wide, little) = (head[4] == 2, head[5] == 1);
    let half = |at: usize| {
        let bytes = [head[at], head[at + 1]];
        if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    };
    let (machine, ours) = machine(half(18), wide);
    let loader = if wide && little { loader(file, &head)? } else { None };
    Ok(Program::Elf { machine, ours, loader })
}

fn machine(number: u16, wide: bool) -> (&'static str, bool) {
    let name = match number {
        3 => "386",
        8 => "mips",
        20 | 21 => "ppc64",
        22 => "s390x",
        40 => "arm",
        62 if wide => "amd64",
        62 => "amd64 (x32)",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        _ => "another processor",
    };
    let ours = match std::env::consts::ARCH {
        // Whether a 64-bit kernel also runs 32-bit programs is the kernel's to say.
        "x86_64" => matches!(name, "amd64" | "386"),
        "aarch64" => matches!(name, "arm64" | "arm"),
        _ => true,
    };
    (name, ours)
}

/// The loader that a dynamic program of 64 bits names.
fn loader(file: &mut (impl Read + Seek), head: &[u8]) -> std::io::Result<Option<String>> {
    let number = |bytes: &[u8], at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (table, size) = (number(head, 32, 8), number(head, 54, 2));
    let count = (number(head, 56, 2)).min(HEADERS.into());
    for index in 0..count {
        let mut entry = [0; 56];
        file.seek(SeekFrom::Start(table.saturating_add(index * size)))?;
        file.read_exact(&mut entry)?;
        if number(&entry, 0, 4) == u64::from(PT_INTERP) {
            let mut name = Vec::new();
            file.seek(SeekFrom::Start(number(&entry, 8, 8)))?;
            file.take(number(&entry, 32, 8).min(4096)).read_to_end(&mut name)?;
            let name = String::from_utf8_lossy(&name);
            return Ok(Some(name.trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn scripts_programs_and_neither() {
        let look = |bytes: &[u8]| look(&mut Cursor::new(bytes.to_vec())).unwrap();
        assert_eq!(look(b"#! /bin/bash -e\r\nx"), Program::Script("/bin/bash".into()));
        assert_eq!(look(b"#!/bin/sh\r\n"), Program::Script("/bin/sh".into()));
        assert_eq!(look(b"echo"), Program::Neither);
        assert_eq!(look(b""), Program::Neither);
        let mut arm = vec![0; 64];
        arm[..6].copy_from_slice(b"\x7fELF\x02\x01");
        arm[18] = 183;
        let ours = std::env::consts::ARCH == "aarch64";
        assert_eq!(look(&arm), Program::Elf { machine: "arm64", ours, loader: None });
    }

    #[test]
    fn a_real_program_names_its_loader() {
        let mut file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let Program::Elf { ours: true, loader: Some(loader), .. } = look(&mut file).unwrap() else {
            panic!("this test is no dynamic program of this machine")
        };
        assert!(std::path::Path::new(&loader).exists(), "{loader}");
    }
}
