//! Looking for a marker in a stream of anything.

/// Keeps the last bytes of a stream, as few as the longest marker needs.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    most: usize,
}

impl Window {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::with_capacity(most), most }
    }

    /// Takes the next byte, and forgets the oldest where there is no room.
    pub(super) fn push(&mut self, byte: u8) {
        if self.bytes.len() == self.most {
            self.bytes.remove(0);
        }
        self.bytes.push(byte);
    }

    /// What follows the marker, when the stream so far ends with it and so many bytes.
    pub(super) fn ends_with(&self, marker: &[u8], then: usize) -> Option<&[u8]> {
        let from = self.bytes.len().checked_sub(marker.len() + then)?;
        self.bytes[from..].strip_prefix(marker)
    }
}
