//! Health on every change.

use bytes::BytesMut;
use http::Response;
use hyper::body::Incoming;

use super::ClientError;
use crate::{Health, Route};

/// The most bytes of a guest's health; agents say a tenth of that.
const LONGEST: usize = 64 << 10;

/// A guest's health: the first one at once, then one for every change. What changes faster than it is read is told once.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    lines: Lines,
}

/// What was read and not told.
#[derive(Debug, Default)]
struct Lines {
    bytes: BytesMut,
    /// So many of them are known to have no end of a line among them, and are not looked through again for every piece that comes.
    looked: usize,
}

impl Watch {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), lines: Lines::default() }
    }

    /// The next one; nothing when the agent ends.
    ///
    /// # Errors
    /// When the link is lost, or an answer cannot be read.
    pub async fn next(&mut self) -> Result<Option<Health>, ClientError> {
        let what = Route::Watch.verb();
        loop {
            if let Some(line) = self.lines.next() {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|why| ClientError::unreadable(what, &why));
            }
            if self.lines.bytes.len() > LONGEST {
                return Err(ClientError::Answer { what, why: "a line without end".into() });
            }
            match super::piece(&mut self.body).await {
                Some(Ok(piece)) => self.lines.bytes.extend_from_slice(&piece),
                Some(Err(why)) => return Err(ClientError::Lost { what, why: super::error::words(&why) }),
                None => return Ok(None),
            }
        }
    }
}

impl Lines {
    fn next(&mut self) -> Option<BytesMut> {
        let Some(end) = self.bytes[self.looked..].iter().position(|byte| *byte == b'\n') else {
            self.looked = self.bytes.len();
            return None;
        };
        let line = self.bytes.split_to(self.looked + end + 1);
        self.looked = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_come() {
        let text = b"one\n\ntwo three\nfour";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.bytes.extend_from_slice(piece);
                found.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(found, [&b"one\n"[..], b"\n", b"two three\n"], "in pieces of {size}");
            assert_eq!((&lines.bytes[..], lines.looked), (&b"four"[..], 4));
        }
    }
}
