//! Layers as they are stored: plain, gzip or zstd, told by their first bytes rather than by what a manifest claims.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

/// Read ahead of the unpacker.
const BUFFER: usize = 256 * 1024;

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    None,
}

impl Packing {
    /// By its first bytes (RFC 1952, section 2.3.1; RFC 8878, section 3.1.1).
    fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Whether a layer, which is at its beginning and stays there, is stored as it is.
pub(crate) fn is_plain(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut first = Vec::new();
    file.take(4).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Packing::of(&first) == Packing::None)
}

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
    Ok(match Packing::of(reader.fill_buf()?) {
        Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(reader)?;
            decoder.window_log_max(window_log)?;
            Box::new(BufReader::with_capacity(BUFFER, Windowed { decoder, window_log }))
        }
        Packing::None => Box::new(reader),
    })
}

/// A zstd stream whose refusal of a window says which one would do.
struct Windowed<R> {
    decoder: R,
    window_log: u32,
}

impl<R: Read> Read for Windowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|why| {
            // ZSTD_error_frameParameter_windowTooLarge, of which the library gives the text alone (zstd, lib/common/error_private.c).
            if !why.to_string().contains("requires too much memory") {
                return why;
            }
            let most = 1_u64 << self.window_log >> 20;
            io::Error::other(format!(
                "it was packed with a window of more than {most} MiB, and an eighth of the memory that a conversion may take is the most"
            ))
        })
    }
}
