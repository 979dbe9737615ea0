//! How much an image may ask for.

/// Bounds that an image of any honest size keeps. What is beyond them is refused with an error, before it costs more.
///
/// Memory goes with the number of names and not with the bytes of an image: see [`Limits::entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and links of all layers together.
    pub entries: usize,
    /// Bytes of all layers together, unpacked: what is read, and what there is to write. A sparse file counts for the whole
    /// blocks that its parts touch.
    pub bytes: u64,
    /// Bytes of all files together with their holes, which take no room.
    pub apparent: u64,
    /// Bytes of the extended headers of one entry: long names and attributes.
    pub header: u64,
    /// Bytes of names and attributes of all layers together, and of all paths of the tree: what is held in memory.
    pub metadata: u64,
    /// Layers.
    pub layers: usize,
    /// Bytes of memory, at least [`Limits::LEAST_MEMORY`]: an image whose names and unpackers take more is refused before
    /// they do. It is an estimate from above of what a conversion adds to a process.
    pub memory: u64,
}

impl Limits {
    /// What [`Limits::memory`] is unless more is allowed: enough for any number of bytes, and for some hundred
    /// thousand names.
    pub const MEMORY: u64 = 150 << 20;
    /// The least memory that a conversion is tried with.
    pub const LEAST_MEMORY: u64 = 64 << 20;

    /// Bytes for names and what becomes of them: four fifths. The rest is for buffers, an unpacker's window, and the
    /// program itself.
    #[must_use]
    pub fn memory_of_names(&self) -> u64 {
        self.memory - self.memory / 5
    }

    /// The memory with which [`Limits::memory_of_names`] has room for so many bytes, in whole MiB.
    #[must_use]
    pub fn memory_for(names: u64) -> u64 {
        (names + names / 4 + 1).next_multiple_of(1 << 20).max(Self::LEAST_MEMORY)
    }

    /// The largest window of an unpacker, as a power of two: the largest that fits into an eighth.
    #[must_use]
    pub fn window_log(&self) -> u32 {
        (self.memory.max(Self::LEAST_MEMORY) / 8).ilog2().min(31)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 256 << 30,
            apparent: 64 << 40,
            header: 1 << 20,
            metadata: 128 << 20,
            // Docker allows 127.
            layers: 1024,
            memory: Self::MEMORY,
        }
    }
}
