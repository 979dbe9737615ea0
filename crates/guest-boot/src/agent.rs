//! Whether a program can be the first process of a guest.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use elf::endian::AnyEndian;
use elf::{ElfBytes, abi};

use crate::{AgentError, Architecture};

/// The largest agent, in bytes: it is in the memory of every guest while that boots.
pub const MAX_AGENT: usize = 64 << 20;

/// A program that can be the first process of a guest: static, since the first root has no libraries, and for this machine.
#[derive(Clone, Debug)]
pub struct Agent {
    bytes: Vec<u8>,
}

impl Agent {
    /// Reads one.
    ///
    /// # Errors
    /// When it cannot be read, or is no static program for this host's processor.
    pub fn read(path: &Path) -> Result<Self, AgentError> {
        let unread = |why| AgentError::Read { path: path.into(), why };
        // Before it is opened: a named pipe would wait for its other end.
        if !std::fs::metadata(path).map_err(unread)?.is_file() {
            return Err(unread(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_AGENT as u64 + 1).read_to_end(&mut bytes))
            .map_err(unread)?;
        match trouble(&bytes) {
            Some(why) => Err(AgentError::Wrong { path: path.into(), why }),
            None => Ok(Self { bytes }),
        }
    }

    /// The program.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn trouble(bytes: &[u8]) -> Option<String> {
    if bytes.len() > MAX_AGENT {
        return Some("it has more than 64 MiB".into());
    }
    let Ok(elf) = ElfBytes::<AnyEndian>::minimal_parse(bytes) else {
        return Some("it is no ELF program, or not the whole of one".into());
    };
    if !matches!(elf.ehdr.e_type, abi::ET_EXEC | abi::ET_DYN) {
        return Some("it is an ELF file, but no program".into());
    }
    let found = Architecture::of_elf(elf.ehdr.e_machine);
    if found.is_none() || found != Architecture::of_host() {
        let found = found.map_or_else(|| "another processor".into(), |found| found.to_string());
        return Some(format!("it is for {found}, and this machine is {}", std::env::consts::ARCH));
    }
    let segments = elf.segments().map(|table| table.iter().collect::<Vec<_>>()).unwrap_or_default();
    if segments.iter().any(|segment| segment.p_type == abi::PT_INTERP) {
        return Some("it is not static: it names a loader, and a guest's first root has none".into());
    }
    let end = |segment: &elf::segment::ProgramHeader| segment.p_offset.saturating_add(segment.p_filesz);
    let is_whole = segments.iter().all(|segment| end(segment) <= bytes.len() as u64);
    if !is_whole || !segments.iter().any(|segment| segment.p_type == abi::PT_LOAD) {
        return Some("it is cut off, or has nothing to load".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_could_not_start_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Agent::read(&path).unwrap_err().to_string()
        };
        assert!(refused("script", b"#!/bin/sh\n").contains("no ELF program"));
        let this = std::env::current_exe().unwrap();
        if cfg!(target_os = "linux") {
            // Tests are linked as everything else is.
            let bytes = std::fs::read(&this).unwrap();
            assert!(refused("dynamic", &bytes).contains("it is not static"));
            let mut other = bytes.clone();
            // `e_machine` of an ELF header (elf(5)): s390.
            other[18] = 22;
            assert!(refused("other", &other).contains("another processor"));
            assert!(refused("short", &bytes[..40]).contains("not the whole of one"));
        }
        assert!(matches!(Agent::read(folder.path()), Err(AgentError::Read { .. })));
        assert!(matches!(Agent::read(&folder.path().join("none")), Err(AgentError::Read { .. })));
    }
}
