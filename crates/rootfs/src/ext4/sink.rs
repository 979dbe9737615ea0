//! Where the library's blocks go.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use super::BLOCK;

/// Leaves blocks of zeros out: the file has holes there from the beginning.
pub(super) struct Sparse {
    file: File,
    forward: Rc<Forward>,
}

impl Sparse {
    /// Makes an empty file as large as it is to be.
    pub(super) fn new(file: File, size: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self { file, forward: Rc::default() })
    }

    /// Where its blocks go.
    pub(super) fn forward(&self) -> Rc<Forward> {
        self.forward.clone()
    }
}

/// Whether blocks go forward, and where the next one may be.
#[derive(Debug, Default)]
pub(super) struct Forward(Cell<Option<u64>>);

impl Forward {
    /// From here on they may go anywhere.
    pub(super) fn begin(&self) {
        self.0.set(Some(0));
    }

    /// Where the last block ended; 0 if not all of them went forward.
    pub(super) fn end(&self) -> u64 {
        self.0.get().unwrap_or(0)
    }

    fn block(&self, offset: u64, len: usize) {
        self.0.set(self.0.get().filter(|end| *end <= offset).map(|_| offset + len as u64));
    }
}

impl mkext4::RegionSink for Sparse {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.forward.block(offset, bytes.len());
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let zeros = blocks(rest, true);
            let data = blocks(&rest[zeros..], false);
            if data > 0 {
                self.file.write_all_at(&rest[zeros..zeros + data], at + zeros as u64)?;
            }
            rest = &rest[zeros + data..];
            at += (zeros + data) as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the bytes that [`Sparse`] would write.
pub(super) struct Counting<'a>(pub(super) &'a mut u64);

impl mkext4::RegionSink for Counting<'_> {
    fn data(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        let written = bytes.chunks(BLOCK as usize).filter(|block| !is_zero(block));
        *self.0 += written.map(|block| block.len() as u64).sum::<u64>();
        Ok(())
    }

    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes from the beginning on are whole blocks of zeros, or are none.
fn blocks(bytes: &[u8], zeros: bool) -> usize {
    bytes.chunks(BLOCK as usize).take_while(|block| is_zero(block) == zeros).map(<[u8]>::len).sum()
}

/// Whether this is a whole block of zeros.
fn is_zero(block: &[u8]) -> bool {
    block.len() == BLOCK as usize && block.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_is_not_forward() {
        let forward = Forward::default();
        forward.block(0, 5);
        assert_eq!(forward.end(), 0, "nothing before it begins counts");
        forward.begin();
        forward.block(4096, 4096);
        forward.block(8192, 10);
        assert_eq!(forward.end(), 8202);
        forward.block(8201, 1);
        assert_eq!(forward.end(), 0);
        forward.block(9000, 1);
        assert_eq!(forward.end(), 0, "and never again");
        forward.begin();
        forward.block(1, 1);
        assert_eq!(forward.end(), 2);
    }
}
