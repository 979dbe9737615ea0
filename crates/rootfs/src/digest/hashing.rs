//! Hashing beside reading.
//!
//! Who reads goes on with a chunk while a thread hashes it, so that the slower of the two counts and not their sum.
//!
//! ```text
//!   reader ──► chunk ──► whoever reads
//!                └─────► thread: SHA-256 ──► done: the chunk is free again
//! ```

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use sha2::{Digest as _, Sha256};

use super::Digest;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;
/// How many chunks there are: how far reading may be ahead of hashing.
const CHUNKS: usize = 4;

/// Hashes and counts what is read through it. It reads a chunk ahead, which counts as read.
#[derive(Debug)]
pub(crate) struct Hashing<R> {
    reader: R,
    /// In turns; the last one is the one that is read.
    chunks: Vec<Arc<Chunk>>,
    current: usize,
    /// Where the next byte is in it.
    at: usize,
    hasher: Hasher,
    bytes: u64,
}

#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    len: usize,
}

impl<R> Hashing<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            chunks: Vec::new(),
            current: 0,
            at: 0,
            hasher: Hasher::Here { hash: Sha256::new(), chunks: 0 },
            bytes: 0,
        }
    }

    /// The digest of what was read, and how much that was.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest(self.hasher.finish().finalize().into()), self.bytes)
    }
}

impl<R: Read> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunks.get(self.current).is_none_or(|chunk| chunk.len == self.at) {
            self.next()?;
        }
        Ok(self.chunks.get(self.current).map_or(&[], |chunk| &chunk.bytes[self.at..chunk.len]))
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let len = ready.len().min(buffer.len());
        buffer[..len].copy_from_slice(&ready[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<R: Read> Hashing<R> {
    /// Reads the next chunk. At the end and after an error the one before stays, read to its end.
    fn next(&mut self) -> io::Result<()> {
        let next = if self.chunks.is_empty() { 0 } else { (self.current + 1) % CHUNKS };
        if next == self.chunks.len() {
            self.chunks.push(Arc::new(Chunk { bytes: vec![0; CHUNK].into(), len: 0 }));
        }
        self.hasher.wait_for_oldest();
        // Somebody else has it only when the thread is gone.
        let chunk =
            Arc::get_mut(&mut self.chunks[next]).ok_or_else(|| io::Error::other("hashing has ended"))?;
        chunk.len = loop {
            match self.reader.read(&mut chunk.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if chunk.len > 0 {
            self.bytes += chunk.len as u64;
            (self.current, self.at) = (next, 0);
            self.hasher.update(&self.chunks[next]);
        }
        Ok(())
    }
}

/// Who hashes.
#[derive(Debug)]
enum Hasher {
    /// Whoever reads: the first chunk, which is often the only one, and all of them where the host has no thread left.
    Here { hash: Sha256, chunks: u64 },
    /// A thread, which says when it is done with a chunk.
    Beside { to: Sender<Arc<Chunk>>, done: Receiver<()>, thread: JoinHandle<Sha256>, busy: usize },
}

impl Hasher {
    fn update(&mut self, chunk: &Arc<Chunk>) {
        if let Self::Here { hash, chunks: 1 } = self
            && let Ok(beside) = Self::beside(hash.clone())
        {
            *self = beside;
        }
        match self {
            Self::Here { hash, chunks } => {
                hash.update(&chunk.bytes[..chunk.len]);
                *chunks += 1;
            }
            Self::Beside { to, busy, .. } => {
                // Should it be gone, `finish` tells.
                let _ = to.send(chunk.clone());
                *busy += 1;
            }
        }
    }

    fn beside(mut hash: Sha256) -> io::Result<Self> {
        let (to, chunks) = channel::<Arc<Chunk>>();
        let (tell, done) = channel();
        let thread = Builder::new().name("hash".into()).spawn(move || {
            for chunk in chunks {
                hash.update(&chunk.bytes[..chunk.len]);
                drop(chunk);
                // Whoever reads may have given up.
                let _ = tell.send(());
            }
            hash
        })?;
        Ok(Self::Beside { to, done, thread, busy: 0 })
    }

    /// Returns when at least one of all chunks is not in use. They are used in turns, so it is the oldest.
    fn wait_for_oldest(&mut self) {
        if let Self::Beside { done, busy, .. } = self
            && *busy == CHUNKS
            && done.recv().is_ok()
        {
            *busy -= 1;
        }
    }

    fn finish(self) -> Sha256 {
        match self {
            Self::Here { hash, .. } => hash,
            Self::Beside { to, thread, .. } => {
                drop(to);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Hands out a few bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(self.1);
            self.0.read(&mut buffer[..len])
        }
    }

    #[rstest]
    #[case::nothing(0)]
    #[case::a_byte(1)]
    #[case::less_than_a_chunk(CHUNK - 1)]
    #[case::a_chunk(CHUNK)]
    #[case::more_than_a_chunk(CHUNK + 1)]
    #[case::all_chunks(CHUNKS * CHUNK)]
    #[case::many_turns(3 * CHUNKS * CHUNK + 17)]
    fn what_is_read_is_what_is_hashed(#[case] len: usize) {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        for drip in [usize::MAX, CHUNK / 3 + 1] {
            let mut hashing = Hashing::new(Dripping(&bytes, drip));
            let mut read = Vec::new();
            hashing.read_to_end(&mut read).unwrap();
            // The end is the end, however often one asks.
            for _ in 0..2 * CHUNKS {
                assert_eq!(hashing.read(&mut [0; 8]).unwrap(), 0);
            }
            assert!(read == bytes, "{len} bytes, {drip} at a time");
            assert_eq!(hashing.finish(), (Digest::of(&bytes), len as u64));
        }
    }

    #[test]
    fn an_error_is_no_byte() {
        struct Faulty(u32);
        impl Read for Faulty {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 | 3 | 5..20 => {
                        buffer.fill(7);
                        Ok(buffer.len())
                    }
                    2 => Err(io::ErrorKind::Interrupted.into()),
                    4 => Err(io::ErrorKind::TimedOut.into()),
                    _ => Ok(0),
                }
            }
        }
        let mut hashing = Hashing::new(Faulty(0));
        let mut read = Vec::new();
        assert_eq!(hashing.read_to_end(&mut read).unwrap_err().kind(), io::ErrorKind::TimedOut);
        hashing.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 17 * CHUNK);
        assert_eq!(hashing.finish(), (Digest::of(&read), read.len() as u64));
    }
}
