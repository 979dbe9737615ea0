//! How much an image may ask for.

/// Bounds that an image of any honest size keeps. What is beyond them is refused with an error, before it costs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and links of all layers together.
    pub entries: usize,
    /// Bytes of all layers together, unpacked.
    pub bytes: u64,
    /// Bytes of one extended header: long names and attributes.
    pub header: u64,
    /// Bytes of names and attributes of all layers together: what is held in memory.
    pub metadata: u64,
    /// Layers.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: 256 << 30,
            header: 1 << 20,
            metadata: 1 << 30,
            // Docker allows 127.
            layers: 1024,
        }
    }
}
