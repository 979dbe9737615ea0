//! Frames: typed pieces of a stream.
//!
//! ```text
//!   ┌──────┬───────────────────────┬─────────┐
//!   │ kind │ length, highest first │ payload │
//!   │  1   │           4           │ ≤ 64 KiB│
//!   └──────┴───────────────────────┴─────────┘
//! ```

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The most bytes of a payload.
pub const MAX_PAYLOAD: usize = 64 << 10;
const HEADER: usize = 5;

/// A typed piece of a stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is; the numbers are the stream's own.
    pub kind: u8,
    /// Its bytes.
    pub payload: Bytes,
}

/// Payloads carry what people type and variables: only their length is shown.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame {{ kind: {}, {} bytes }}", self.kind, self.payload.len())
    }
}

/// Writes a frame. A payload longer than [`MAX_PAYLOAD`] becomes several frames of that kind.
#[must_use]
pub fn encode(kind: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
    let mut rest = payload;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        bytes.put_u8(kind);
        bytes.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        bytes.put_slice(piece);
        rest = after;
        if rest.is_empty() {
            return bytes.freeze();
        }
    }
}

/// Writes a frame with a document.
///
/// # Errors
/// When it cannot be written as JSON, or needs more than [`MAX_PAYLOAD`] bytes.
pub fn document(kind: u8, document: &impl serde::Serialize) -> Result<Bytes, BadFrame> {
    let bytes = serde_json::to_vec(document).map_err(|_| BadFrame::Document)?;
    if bytes.len() > MAX_PAYLOAD { Err(BadFrame::TooLong(bytes.len())) } else { Ok(encode(kind, &bytes)) }
}

/// Reads frames from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: BytesMut,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// When a frame says that it is longer than [`MAX_PAYLOAD`]; nothing after it can be read.
    pub fn pop(&mut self) -> Result<Option<Frame>, BadFrame> {
        if self.bytes.len() < HEADER {
            return Ok(None);
        }
        let length =
            u32::from_be_bytes([self.bytes[1], self.bytes[2], self.bytes[3], self.bytes[4]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(BadFrame::TooLong(length));
        }
        if self.bytes.len() < HEADER + length {
            return Ok(None);
        }
        let kind = self.bytes[0];
        self.bytes.advance(HEADER);
        Ok(Some(Frame { kind, payload: self.bytes.split_to(length).freeze() }))
    }

    /// Whether everything that was pushed is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A frame that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It is too long.
    #[error("a frame of {0} bytes is too long: 65536 are the most")]
    TooLong(usize),
    /// A document that is no JSON.
    #[error("the document of a frame cannot be written as JSON")]
    Document,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| decoder.pop().unwrap()).map(|f| (f.kind, f.payload.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..12),
            cut in 1_usize..50,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|(kind, payload)| encode(*kind, payload)).collect();
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                read.extend(all(&mut decoder));
            }
            prop_assert_eq!(read, frames);
            prop_assert!(decoder.is_empty());
        }
    }

    #[test]
    fn long_payloads_are_cut_and_long_frames_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&encode(7, &vec![1; MAX_PAYLOAD + 1]));
        let lengths: Vec<_> = all(&mut decoder).into_iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [MAX_PAYLOAD, 1]);
        decoder.push(&[1, 0, 1, 0, 1]);
        assert_eq!(decoder.pop(), Err(BadFrame::TooLong(MAX_PAYLOAD + 1)));
    }
}
