//! Layers as they are stored: plain, gzip or zstd, told by their first bytes rather than by what a manifest claims.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Read ahead of the unpacker.
const BUFFER: usize = 256 * 1024;

/// The bytes of a layer, unpacked.
///
/// `window_log` is the largest window that a zstd stream may ask for, as a power of two: so much memory unpacking takes
/// at once. RFC 8878, section 3.1.1.1.2, wants 8 MiB at least, and builders of images write no more.
///
/// # Errors
/// When its first bytes cannot be read.
pub(crate) fn unpacked<'a>(
    reader: impl Read + Send + 'a,
    window_log: u32,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    Ok(match reader.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(reader)?;
            decoder.window_log_max(window_log)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        _ => Box::new(reader),
    })
}
