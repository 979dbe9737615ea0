//! ELF files of a few hundred bytes, with what a test wants in them (System V ABI, chapters 4 and 5).

use rootfs::source::host_architecture;

/// Where the file is loaded.
const BASE: u64 = 0x40_0000;

/// A program or library that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) machine: u16,
    pub(crate) interpreter: Option<String>,
    pub(crate) needed: Vec<String>,
    pub(crate) rpath: Option<String>,
    pub(crate) runpath: Option<String>,
    /// `ET_DYN`, but for a test.
    pub(crate) kind: u16,
}

impl Default for Program {
    /// A static program for this host.
    fn default() -> Self {
        let machine = match host_architecture() {
            "arm64" => 183,
            _ => 62,
        };
        Self { machine, interpreter: None, needed: Vec::new(), rpath: None, runpath: None, kind: 3 }
    }
}

/// The processor that this host does not have: `EM_AARCH64` or `EM_X86_64`, with its name.
pub(crate) fn foreign() -> (u16, &'static str) {
    if host_architecture() == "arm64" { (62, "amd64") } else { (183, "arm64") }
}

impl Program {
    /// One that a loader loads, with libraries.
    pub(crate) fn dynamic(interpreter: &str, needed: &[&str]) -> Self {
        let needed = needed.iter().map(|&name| name.into()).collect();
        Self { interpreter: Some(interpreter.into()), needed, ..Self::default() }
    }

    /// A library with libraries.
    pub(crate) fn library(needed: &[&str]) -> Self {
        Self { interpreter: None, ..Self::dynamic("", needed) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut string = |text: &str| {
            let at = strings.len() as u64;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let mut table: Vec<(u64, u64)> = self.needed.iter().map(|name| (1, string(name))).collect();
        table.extend(self.rpath.iter().map(|list| (15, string(list))));
        table.extend(self.runpath.iter().map(|list| (29, string(list))));
        let has_table = !table.is_empty();
        let interpreter =
            self.interpreter.iter().flat_map(|path| path.bytes().chain([0])).collect::<Vec<_>>();
        let count = 1 + u64::from(self.interpreter.is_some()) + u64::from(has_table);
        let at_interpreter = 64 + 56 * count;
        let at_strings = at_interpreter + interpreter.len() as u64;
        let at_table = (at_strings + strings.len() as u64).next_multiple_of(8);
        table.extend([(5, BASE + at_strings), (0, 0)]);
        let len = at_table + if has_table { table.len() as u64 * 16 } else { 0 };

        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
        let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
        half(&mut bytes, self.kind);
        half(&mut bytes, self.machine);
        bytes.extend(1_u32.to_le_bytes());
        for value in [BASE, 64, 0] {
            long(&mut bytes, value);
        }
        bytes.extend(0_u32.to_le_bytes());
        for value in [64, 56, u16::try_from(count).unwrap(), 64, 0, 0] {
            half(&mut bytes, value);
        }
        let mut segment = |kind: u32, offset: u64, len: u64| {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(5_u32.to_le_bytes());
            for value in [offset, BASE + offset, BASE + offset, len, len, 8] {
                bytes.extend(value.to_le_bytes());
            }
        };
        segment(1, 0, len);
        if self.interpreter.is_some() {
            segment(3, at_interpreter, interpreter.len() as u64);
        }
        if has_table {
            segment(2, at_table, table.len() as u64 * 16);
        }
        bytes.extend(interpreter);
        bytes.extend(strings);
        bytes.resize(usize::try_from(at_table).unwrap(), 0);
        if has_table {
            for (tag, value) in table {
                long(&mut bytes, tag);
                long(&mut bytes, value);
            }
        }
        bytes
    }
}
