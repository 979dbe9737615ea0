//! Where the library's blocks go.

use std::io;

use mkext4::sink::FileSink;

use super::BLOCK;

/// Leaves blocks of zeros out: the file has holes there from the beginning.
pub(super) struct Sparse(pub(super) FileSink);

impl mkext4::RegionSink for Sparse {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let zeros = blocks(rest, true);
            if zeros > 0 {
                self.0.zeros(at, zeros as u64)?;
            }
            let data = blocks(&rest[zeros..], false);
            if data > 0 {
                self.0.data(at + zeros as u64, &rest[zeros..zeros + data])?;
            }
            rest = &rest[zeros + data..];
            at += (zeros + data) as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.zeros(offset, len)
    }
}

/// How many bytes from the beginning on are whole blocks of zeros, or are none.
fn blocks(bytes: &[u8], zeros: bool) -> usize {
    let is_zero = |block: &[u8]| block.len() == BLOCK as usize && block.iter().all(|&byte| byte == 0);
    bytes.chunks(BLOCK as usize).take_while(|block| is_zero(block) == zeros).map(<[u8]>::len).sum()
}
