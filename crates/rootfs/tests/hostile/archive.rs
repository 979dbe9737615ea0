//! Archives as no program writes them, byte by byte.

/// An archive that is being made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    /// One without entries.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header as it is given, with its checksum.
    pub(crate) fn block(mut self, block: [u8; 512]) -> Self {
        self.0.extend(sealed(block));
        self
    }

    /// Bytes, filled up to a whole block.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A file with its content.
    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.long(path).block(header(b'0', path, content.len() as u64)).bytes(content)
    }

    /// An entry without content.
    pub(crate) fn entry(self, kind: u8, path: &str) -> Self {
        self.long(path).block(header(kind, path, 0))
    }

    /// A folder.
    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(b'5', path)
    }

    /// A symbolic link.
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.link(b'2', path, target)
    }

    /// A hard link.
    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(b'1', path, target)
    }

    /// An extended header.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut all = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let len = (body + 1..).find(|len| body + len.to_string().len() == *len).unwrap();
            all.extend([format!("{len} {key}=").as_bytes(), value, b"\n"].concat());
        }
        self.raw(b'x', &all)
    }

    /// An extended header, or GNU's long name or link (`L`, `K`), of these bytes.
    pub(crate) fn raw(self, kind: u8, bytes: &[u8]) -> Self {
        self.block(header(kind, "header", bytes.len() as u64)).bytes(bytes)
    }

    /// The mark at the end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    fn link(self, kind: u8, path: &str, target: &str) -> Self {
        let archive = self.long(path);
        if target.len() > 100 {
            return archive.raw(b'K', target.as_bytes()).block(header(kind, path, 0));
        }
        let mut block = header(kind, path, 0);
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        archive.block(block)
    }

    fn long(self, path: &str) -> Self {
        if path.len() > 100 { self.raw(b'L', path.as_bytes()) } else { self }
    }
}

/// A header without its checksum; of a path that is too long only its beginning.
pub(crate) fn header(kind: u8, path: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let name = &path.as_bytes()[..path.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000755\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    block
}

/// A header with a field of it replaced.
pub(crate) fn with_field(mut block: [u8; 512], at: usize, bytes: &[u8]) -> [u8; 512] {
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block
}

fn sealed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
