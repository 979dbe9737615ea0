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

    /// Takes more, as the host reads it, and forgets the oldest where there is no room.
    #[cfg(any(test, feature = "client"))]
    pub(super) fn extend(&mut self, more: &[u8]) {
        let kept = self.most.saturating_sub(more.len()).min(self.bytes.len());
        self.bytes.drain(..self.bytes.len() - kept);
        self.bytes.extend_from_slice(&more[more.len().saturating_sub(self.most)..]);
    }

    /// What follows the marker, when the stream so far ends with it and so many bytes.
    pub(super) fn ends_with(&self, marker: &[u8], then: usize) -> Option<&[u8]> {
        let from = self.bytes.len().checked_sub(marker.len() + then)?;
        self.bytes[from..].strip_prefix(marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_however_they_come() {
        let text: Vec<u8> = (0..40).collect();
        for size in 1..=text.len() {
            let (mut one_by_one, mut pieces) = (Window::new(7), Window::new(7));
            for piece in text.chunks(size) {
                piece.iter().for_each(|byte| one_by_one.push(*byte));
                pieces.extend(piece);
                assert_eq!(pieces.bytes, one_by_one.bytes, "in pieces of {size}");
            }
        }
    }
}
