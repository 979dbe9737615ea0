//! Parts of a file that streams past.

use std::borrow::Cow;
use std::io::{self, Read};

/// The beginning of a file that is held, so that what lies there can be read after what lies behind it.
const HELD: usize = 16 << 20;
/// The largest part that is read at once from behind that.
const MOST_PART: u64 = 1 << 20;

/// A file that is read forward, with a bounded memory of its beginning.
pub(super) struct Window<'a> {
    head: Vec<u8>,
    reader: &'a mut dyn Read,
    /// How much was read.
    at: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(reader: &'a mut dyn Read) -> Self {
        Self { head: Vec::new(), reader, at: 0 }
    }

    /// The bytes of a part, fewer where the file ends; nothing when it lies behind what is held and was passed already.
    pub(super) fn part(&mut self, offset: u64, len: u64) -> io::Result<Option<Cow<'_, [u8]>>> {
        let Some(end) = offset.checked_add(len) else { return Ok(None) };
        self.hold(end)?;
        if let Ok(end) = usize::try_from(end)
            && end <= HELD
        {
            let end = end.min(self.head.len());
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(end);
            return Ok(Some(Cow::Borrowed(&self.head[start..end])));
        }
        if offset < self.at || len > MOST_PART {
            return Ok(None);
        }
        let skipped = io::copy(&mut (&mut *self.reader).take(offset - self.at), &mut io::sink())?;
        let mut bytes = Vec::new();
        let read = (&mut *self.reader).take(len).read_to_end(&mut bytes)?;
        self.at += skipped + read as u64;
        Ok(Some(Cow::Owned(bytes)))
    }

    /// Reads on until so much is held, as far as anything is held.
    fn hold(&mut self, end: u64) -> io::Result<()> {
        let end = end.min(HELD as u64);
        if let Some(more) = end.checked_sub(self.head.len() as u64).filter(|&more| more > 0) {
            let read = (&mut *self.reader).take(more).read_to_end(&mut self.head)?;
            self.at += read as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_can_be_read_again_and_the_rest_once() {
        let bytes: Vec<u8> = (0..HELD + 5000).map(|at| (at % 251) as u8).collect();
        let mut reader = bytes.as_slice();
        let mut window = Window::new(&mut reader);
        let mut part =
            |offset: usize, len: usize| window.part(offset as u64, len as u64).unwrap().map(Cow::into_owned);
        assert_eq!(part(10, 5).unwrap(), bytes[10..15]);
        assert_eq!(part(HELD + 100, 5).unwrap(), bytes[HELD + 100..HELD + 105]);
        assert_eq!(part(3, 4).unwrap(), bytes[3..7]);
        assert_eq!(part(HELD + 100, 5), None, "passed");
        assert_eq!(part(HELD + 4990, 500).unwrap(), bytes[HELD + 4990..], "shorter at the end");
        assert_eq!(part(HELD + 6000, 5).unwrap(), b"");
        assert_eq!(part(usize::MAX, 5), None);
        assert_eq!(part(HELD + 7000, 1 << 30), None, "too much at once");
    }
}
