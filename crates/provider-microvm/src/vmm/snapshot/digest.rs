//! Digests of files.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use sha2::{Digest as _, Sha256};

use crate::random;

/// How many bytes a file has, and their SHA-256 in hex digits.
pub(crate) fn digest(mut file: &File) -> io::Result<(u64, String)> {
    let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, random::digits(&hash.finalize()))),
            count => {
                bytes += count as u64;
                hash.update(&buffer[..count]);
            }
        }
    }
}
