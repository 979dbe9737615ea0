//! Where the library's blocks go.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::BLOCK;

/// Leaves blocks of zeros out: the file has holes there from the beginning.
pub(super) struct Sparse(File);

impl Sparse {
    /// Makes an empty file as large as it is to be.
    pub(super) fn new(file: File, size: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self(file))
    }
}

impl mkext4::RegionSink for Sparse {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let zeros = blocks(rest, true);
            let data = blocks(&rest[zeros..], false);
            if data > 0 {
                self.0.write_all_at(&rest[zeros..zeros + data], at + zeros as u64)?;
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
