//! A kernel as an ELF file.

use elf::endian::AnyEndian;
use elf::note::Note;
use elf::{ElfBytes, abi};

use crate::Architecture;

/// What every kernel holds for `/proc/version`.
const BANNER: &[u8] = b"Linux version ";
/// `XEN_ELFNOTE_PHYS32_ENTRY`: where it is entered in 32-bit mode (xen/include/public/elfnote.h).
const PVH_NOTE: u64 = 18;

/// The processor and the version; or what is wrong, as the end of a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<(Architecture, String), String> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(bytes)
        .map_err(|why| format!("it begins as an ELF file, but is damaged or cut off: {why}"))?;
    if !matches!(elf.ehdr.e_type, abi::ET_EXEC | abi::ET_DYN) {
        return Err("it is an ELF file, but no program: a module?".into());
    }
    let segments = elf.segments().map(|table| table.iter().collect::<Vec<_>>()).unwrap_or_default();
    if segments.is_empty() {
        return Err("it is an ELF file without anything to load".into());
    }
    for segment in &segments {
        let end = segment.p_offset.checked_add(segment.p_filesz);
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(format!("it is cut off after {} bytes", bytes.len()));
        }
    }
    let machine = elf.ehdr.e_machine;
    let architecture = Architecture::of_elf(machine)
        .ok_or_else(|| format!("it is for another processor (ELF machine {machine})"))?;
    let version = version(bytes).ok_or("it is a program, but no Linux kernel")?;
    Ok((architecture, version))
}

pub(super) fn has_pvh_note(bytes: &[u8]) -> bool {
    let Ok(elf) = ElfBytes::<AnyEndian>::minimal_parse(bytes) else { return false };
    let segments = elf.segments().map(|table| table.iter().collect::<Vec<_>>()).unwrap_or_default();
    let notes = segments.iter().filter(|segment| segment.p_type == abi::PT_NOTE);
    notes
        .filter_map(|segment| elf.segment_data_as_notes(segment).ok())
        .flatten()
        .any(|note| matches!(note, Note::Unknown(any) if any.n_type == PVH_NOTE && any.name.strip_suffix(b"\0").unwrap_or(any.name) == b"Xen"))
}

fn version(bytes: &[u8]) -> Option<String> {
    super::config::find(bytes, BANNER)
        .map(|at| &bytes[at + BANNER.len()..])
        .filter_map(|rest| rest.split(|byte| byte.is_ascii_whitespace() || *byte == 0).next())
        .filter_map(|word| std::str::from_utf8(word).ok())
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.len() < 65)
        .map(str::to_owned)
}
