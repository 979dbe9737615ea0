//! Passing over what is not wanted.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Something whose bytes can be passed over.
pub(crate) trait Skip: Read {
    /// Passes over so many bytes, or as many as there are; says how many.
    fn skip(&mut self, bytes: u64) -> io::Result<u64>;
}

/// A stream: what is passed over is read.
#[derive(Debug)]
pub(crate) struct Streamed<R>(pub(crate) R);

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: BufRead> Skip for Streamed<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let mut skipped = 0;
        while skipped < bytes {
            let ready = self.0.fill_buf()?.len();
            if ready == 0 {
                break;
            }
            let len = usize::try_from(bytes - skipped).unwrap_or(usize::MAX).min(ready);
            self.0.consume(len);
            skipped += len as u64;
        }
        Ok(skipped)
    }
}

/// A file: what is passed over is not read, unless it is in the buffer already.
#[derive(Debug)]
pub(crate) struct Seekable<R> {
    reader: BufReader<R>,
    /// Bytes to its end.
    left: u64,
}

impl<R: Read + Seek> Seekable<R> {
    /// From its beginning to the end that it has now.
    ///
    /// # Errors
    /// When it cannot be moved in.
    pub(crate) fn new(mut reader: R) -> io::Result<Self> {
        let left = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self { reader: BufReader::new(reader), left })
    }

    /// Bytes from here to its end.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Skip for Seekable<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let skipped = bytes.min(self.left);
        let by = i64::try_from(skipped).map_err(io::Error::other)?;
        self.reader.seek_relative(by)?;
        self.left -= skipped;
        Ok(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many bytes as asked for, and one to see where it is.
    fn skipping(skip: &mut impl Skip) -> Vec<(u64, Option<u8>)> {
        let mut seen = Vec::new();
        for bytes in [0, 1, 9_000, 7, 1 << 20] {
            let skipped = skip.skip(bytes).unwrap();
            let mut byte = [0];
            let read = skip.read(&mut byte).unwrap();
            seen.push((skipped, (read == 1).then_some(byte[0])));
        }
        seen
    }

    #[test]
    fn files_and_streams_pass_over_the_same() {
        let bytes: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
        let at = |at: usize| Some((at % 251) as u8);
        let expected = [(0, at(0)), (1, at(2)), (9_000, at(9_003)), (7, at(9_011)), (20_000 - 9_012, None)];
        assert_eq!(skipping(&mut Streamed(&bytes[..])), expected);
        let mut file = Seekable::new(io::Cursor::new(&bytes)).unwrap();
        assert_eq!(skipping(&mut file), expected);
        assert_eq!(file.left(), 0);
    }
}
