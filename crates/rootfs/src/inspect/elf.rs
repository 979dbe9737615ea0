//! What an ELF file needs before it runs (System V ABI, chapters 4 and 5; `elf(5)`).

use std::io::{self, Read};

use elf::endian::AnyEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParsingTable;
use elf::segment::{ProgramHeader, SegmentTable};
use elf::{abi, dynamic::DynamicTable};

use super::window::Window;

/// The most bytes of the interpreter's path: `PATH_MAX`, as the kernel has it.
const MOST_INTERPRETER: u64 = 4096;
/// The most bytes of the table of what the loader is told.
const MOST_DYNAMIC: u64 = 64 << 10;
/// The most libraries that one file may name.
const MOST_NEEDED: usize = 512;
/// The most bytes of one name of a library, or of a list of folders.
const MOST_NAME: u64 = 4096;

/// An ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) machine: Machine,
    /// `ET_EXEC`, `ET_DYN`, …
    pub(super) kind: u16,
    /// The dynamic loader that the kernel starts for it.
    pub(super) interpreter: Option<Box<[u8]>>,
    /// What the loader is to load, where the file has a table for it.
    pub(super) dynamic: Option<Dynamic>,
}

impl Elf {
    /// Whether the kernel takes it for a program at all: libraries and position independent programs look alike.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.kind, abi::ET_EXEC | abi::ET_DYN)
    }
}

/// A processor with its word size and byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) number: u16,
    pub(super) wide: bool,
    pub(super) little: bool,
}

/// What the dynamic loader is told (`DT_NEEDED`, `DT_RPATH`, `DT_RUNPATH`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    pub(super) needed: Vec<Box<[u8]>>,
    pub(super) rpath: Option<Box<[u8]>>,
    pub(super) runpath: Option<Box<[u8]>>,
    /// Whether all of it could be read.
    pub(super) whole: bool,
}

impl Machine {
    /// In Go's words, as images say it; nothing for a processor that Go does not know.
    pub(super) fn architecture(self) -> Option<&'static str> {
        Some(match (self.number, self.wide, self.little) {
            (abi::EM_X86_64, true, true) => "amd64",
            (abi::EM_386, false, true) => "386",
            (abi::EM_AARCH64, true, true) => "arm64",
            (abi::EM_ARM, false, true) => "arm",
            (abi::EM_RISCV, true, true) => "riscv64",
            (abi::EM_PPC64, true, true) => "ppc64le",
            (abi::EM_PPC64, true, false) => "ppc64",
            (abi::EM_S390, true, false) => "s390x",
            (abi::EM_LOONGARCH, true, true) => "loong64",
            (abi::EM_MIPS, true, true) => "mips64le",
            (abi::EM_MIPS, true, false) => "mips64",
            (abi::EM_MIPS, false, true) => "mipsle",
            (abi::EM_MIPS, false, false) => "mips",
            _ => return None,
        })
    }

    /// For people.
    pub(super) fn shown(self) -> String {
        self.architecture().map_or_else(|| format!("ELF machine {}", self.number), str::to_owned)
    }
}

/// Reads what there is to know of an ELF file, from its beginning on; nothing when it is damaged.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(reader: &mut dyn Read) -> io::Result<Option<Elf>> {
    let mut window = Window::new(reader);
    let Some(header) = window.part(0, 64)?.and_then(|bytes| header(&bytes)) else { return Ok(None) };
    let entry = if header.class == Class::ELF64 { 56 } else { 32 };
    if header.e_phnum > 0 && header.e_phentsize != entry {
        return Ok(None);
    }
    let len = u64::from(header.e_phnum) * u64::from(entry);
    let segments: Vec<ProgramHeader> = match window.part(header.e_phoff, len)? {
        Some(bytes) if bytes.len() as u64 == len => {
            SegmentTable::new(header.endianness, header.class, &bytes).iter().collect()
        }
        _ => return Ok(None),
    };
    let machine = Machine {
        number: header.e_machine,
        wide: header.class == Class::ELF64,
        little: header.endianness == AnyEndian::Little,
    };
    let mut elf = Elf { machine, kind: header.e_type, interpreter: None, dynamic: None };
    if let Some(segment) = segments.iter().find(|segment| segment.p_type == abi::PT_INTERP) {
        let bytes = window.part(segment.p_offset, segment.p_filesz.min(MOST_INTERPRETER))?;
        let path = bytes.map(|bytes| until_nul(&bytes)).unwrap_or_default();
        elf.interpreter = Some(path);
    }
    if let Some(segment) = segments.iter().find(|segment| segment.p_type == abi::PT_DYNAMIC) {
        elf.dynamic = Some(dynamic(&mut window, &header, &segments, segment)?);
    }
    Ok(Some(elf))
}

fn header(bytes: &[u8]) -> Option<FileHeader<AnyEndian>> {
    let ident = parse_ident(bytes.get(..abi::EI_NIDENT)?).ok()?;
    FileHeader::parse_tail(ident, bytes.get(abi::EI_NIDENT..)?).ok()
}

fn dynamic(
    window: &mut Window<'_>,
    header: &FileHeader<AnyEndian>,
    segments: &[ProgramHeader],
    at: &ProgramHeader,
) -> io::Result<Dynamic> {
    let mut found = Dynamic::default();
    let Some(bytes) = window.part(at.p_offset, at.p_filesz.min(MOST_DYNAMIC))? else { return Ok(found) };
    let table: DynamicTable<'_, AnyEndian> = ParsingTable::new(header.endianness, header.class, &bytes);
    let (mut strings, mut needed) = (None, Vec::new());
    let (mut rpath, mut runpath) = (None, None);
    for item in table.iter() {
        match item.d_tag {
            abi::DT_NULL => break,
            abi::DT_STRTAB => strings = Some(item.d_ptr()),
            abi::DT_NEEDED if needed.len() < MOST_NEEDED => needed.push(item.d_val()),
            abi::DT_RPATH => rpath = Some(item.d_val()),
            abi::DT_RUNPATH => runpath = Some(item.d_val()),
            _ => {}
        }
    }
    drop(bytes);
    let Some(strings) = strings.and_then(|address| offset(segments, address)) else {
        found.whole = needed.is_empty();
        return Ok(found);
    };
    found.whole = true;
    let mut name = |at: u64| -> io::Result<Option<Box<[u8]>>> {
        let Some(at) = strings.checked_add(at) else { return Ok(None) };
        let bytes = window.part(at, MOST_NAME)?;
        Ok(bytes.filter(|bytes| bytes.contains(&0)).map(|bytes| until_nul(&bytes)))
    };
    for at in needed {
        match name(at)? {
            Some(name) => found.needed.push(name),
            None => found.whole = false,
        }
    }
    for (list, at) in [(&mut found.rpath, rpath), (&mut found.runpath, runpath)] {
        let Some(at) = at else { continue };
        *list = name(at)?;
        found.whole &= list.is_some();
    }
    Ok(found)
}

/// Where in the file what is loaded at an address is.
fn offset(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD);
    loaded
        .filter_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr)?;
            if within < segment.p_filesz { segment.p_offset.checked_add(within) } else { None }
        })
        .next()
}

fn until_nul(bytes: &[u8]) -> Box<[u8]> {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> Option<Elf> {
        read(&mut &*bytes).unwrap()
    }

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn this_very_program_is_known() {
        if !cfg!(target_os = "linux") {
            eprintln!("skipped: programs of this system are no ELF files");
            return;
        }
        let elf = of(&own()).unwrap();
        assert_eq!(elf.machine.architecture(), Some(crate::source::host_architecture()));
        let dynamic = elf.dynamic.clone().unwrap();
        assert!(dynamic.whole && elf.is_program());
        if cfg!(target_env = "gnu") {
            assert!(elf.interpreter.unwrap().starts_with(b"/lib"));
            assert!(dynamic.needed.iter().any(|name| name.starts_with(b"libc.so")), "{:?}", dynamic.needed);
        }
    }

    #[test]
    fn a_file_that_ends_early_is_damaged() {
        let whole = own();
        for len in [0, 1, 4, 16, 63, 64, 100] {
            assert_eq!(of(&whole[..len.min(whole.len())]), None, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), ident in any::<bool>()) {
            if ident && bytes.len() > 16 {
                bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            }
            let _ = of(&bytes);
        }

        #[test]
        fn damaged_headers_are_read(
            changes in proptest::collection::vec((0_usize..1200, any::<u8>()), 1..30),
            words in proptest::collection::vec((0_usize..140, any::<u64>()), 0..4),
        ) {
            static OWN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let mut own = own();
                own.truncate(64 << 10);
                own
            });
            let mut bytes = OWN.clone();
            for (at, byte) in changes {
                // The magic stays, so that there is something to read.
                if at > 6 && at < bytes.len() {
                    bytes[at] = byte;
                }
            }
            for (at, word) in words {
                if at > 0 && at * 8 + 8 <= bytes.len() {
                    bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
                }
            }
            if let Some(elf) = of(&bytes) {
                let dynamic = elf.dynamic.unwrap_or_default();
                prop_assert!(dynamic.needed.len() <= MOST_NEEDED);
                prop_assert!(dynamic.needed.iter().all(|name| name.len() as u64 <= MOST_NAME));
            }
        }
    }
}
