//! What a module says about itself: the strings `key=value` in its section `.modinfo` (modinfo(8)).

use std::io;

use elf::ElfBytes;
use elf::endian::AnyEndian;

use super::ModuleName;
use crate::Architecture;

/// What a module says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The processor that it is for; nothing for one that no guest has.
    pub architecture: Option<Architecture>,
    /// The version of the kernel that it is for: the first word of `vermagic`.
    pub kernel: Option<String>,
    /// What must be loaded before it.
    pub depends: Vec<ModuleName>,
    /// What should be loaded before it when it is there (`softdep=pre:`).
    pub wishes: Vec<ModuleName>,
}

impl ModuleInfo {
    /// Reads it from an unpacked module.
    ///
    /// # Errors
    /// When the file is no module.
    pub fn read(module: &[u8]) -> io::Result<Self> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let elf = ElfBytes::<AnyEndian>::minimal_parse(module)
            .map_err(|why| wrong(format!("it is no ELF file: {why}")))?;
        if elf.ehdr.e_type != elf::abi::ET_REL {
            return Err(wrong("it is an ELF file, but no module".into()));
        }
        let section = elf.section_header_by_name(".modinfo");
        let section = section.map_err(|why| wrong(format!("its sections cannot be read: {why}")))?;
        let section = section.ok_or_else(|| wrong("it is no module: it has no .modinfo".into()))?;
        let (bytes, _) =
            elf.section_data(&section).map_err(|why| wrong(format!(".modinfo cannot be read: {why}")))?;
        let mut info = Self::parse(bytes);
        info.architecture = Architecture::of_elf(elf.ehdr.e_machine);
        Ok(info)
    }

    fn parse(section: &[u8]) -> Self {
        let mut info = Self { architecture: None, kernel: None, depends: Vec::new(), wishes: Vec::new() };
        for entry in section.split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            match entry.split_once('=') {
                Some(("vermagic", value)) => {
                    info.kernel = value.split_whitespace().next().map(str::to_owned);
                }
                Some(("depends", value)) => info.depends.extend(names(value.split(','))),
                Some(("softdep", value)) => info.wishes.extend(names(before(value))),
                _ => {}
            }
        }
        info
    }
}

fn names<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = ModuleName> {
    words.filter(|word| !word.is_empty()).map(ModuleName::new)
}

/// The words after `pre:`, up to `post:` (modprobe.d(5)).
fn before(softdep: &str) -> impl Iterator<Item = &str> {
    let mut is_before = false;
    softdep.split_whitespace().filter(move |word| {
        match *word {
            "pre:" => is_before = true,
            "post:" => is_before = false,
            _ => return is_before,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_and_others_passed_over() {
        let info = ModuleInfo::parse(
            b"license=GPL\0\0vermagic=6.1.0 SMP preempt\0depends=jbd2,mb-cache\0softdep=pre: crc32c post: zzz pre: b\0odd",
        );
        assert_eq!(info.kernel.as_deref(), Some("6.1.0"));
        assert_eq!(info.depends, ["jbd2", "mb_cache"].map(ModuleName::new));
        assert_eq!(info.wishes, ["crc32c", "b"].map(ModuleName::new));
        assert!(ModuleInfo::parse(b"depends=").depends.is_empty());
    }

    #[test]
    fn what_is_no_module_is_told() {
        let why = ModuleInfo::read(b"#!/bin/sh").unwrap_err().to_string();
        assert!(why.contains("no ELF file"), "{why}");
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let why = ModuleInfo::read(&program).map(|_| ()).unwrap_err().to_string();
        if cfg!(target_os = "linux") {
            assert!(why.contains("but no module"), "{why}");
        }
    }
}
