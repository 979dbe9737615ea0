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
        }
    }
}
