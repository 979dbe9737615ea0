//! What kernels and their modules are packed with, told by how it begins.

use std::io::{self, Read};

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Xz,
    Zstd,
    /// With the frame that the kernel's build uses, and the newer one.
    Lz4,
    /// What the kernel knows and this does not.
    Other(&'static str),
}

impl Packing {
    /// By the first bytes; nothing when it is not packed in a way that the kernel's build knows
    /// (`scripts/extract-vmlinux` and `lib/decompress.c` of the kernel).
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        const MAGICS: &[(&[u8], Packing)] = &[
            (b"\x1f\x8b", Packing::Gzip),
            (b"\xfd7zXZ\0", Packing::Xz),
            (b"\x28\xb5\x2f\xfd", Packing::Zstd),
            (b"\x02\x21\x4c\x18", Packing::Lz4),
            (b"\x04\x22\x4d\x18", Packing::Lz4),
            (b"BZh", Packing::Other("bzip2")),
            (b"\x5d\0\0\0", Packing::Other("lzma")),
            (b"\x89LZO\0\r\n\x1a\n", Packing::Other("lzo")),
        ];
        MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, packing)| *packing)
    }
}

/// Unpacks the one stream at the beginning of `packed`; what follows it is left.
///
/// # Errors
/// When it is damaged, is packed in another way, or has more than `most` bytes unpacked.
pub(crate) fn unpack(packing: Packing, packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    match packing {
        Packing::Gzip => bounded(flate2::bufread::GzDecoder::new(packed), most),
        Packing::Xz => bounded(lzma_rust2::XzReader::new(packed, false), most),
        Packing::Zstd => bounded(zstd::stream::read::Decoder::with_buffer(packed)?.single_frame(), most),
        Packing::Lz4 => bounded(lz4_flex::frame::FrameDecoder::new(packed), most),
        Packing::Other(name) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("it is packed with {name}")))
        }
    }
}

fn bounded(reader: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let why = format!("it has more than {} MiB unpacked", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(content: &[u8]) -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(content).unwrap();
        let legacy = lz4_flex::frame::FrameInfo::new().legacy_frame(true);
        let mut old = lz4_flex::frame::FrameEncoder::with_frame_info(legacy, Vec::new());
        old.write_all(content).unwrap();
        vec![
            gzip.finish().unwrap(),
            zstd::encode_all(content, 1).unwrap(),
            lz4.finish().unwrap(),
            old.finish().unwrap(),
        ]
    }

    #[test]
    fn all_ways_give_the_content_back_and_no_more_than_allowed() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for bytes in packed(&content) {
            let packing = Packing::of(&bytes).unwrap();
            assert_eq!(unpack(packing, &bytes, content.len()).unwrap(), content, "{packing:?}");
            let refused = unpack(packing, &bytes, content.len() - 1).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge, "{packing:?}");
            let broken = unpack(packing, &bytes[..bytes.len() / 2], content.len());
            assert!(broken.is_err() || broken.unwrap().len() < content.len(), "{packing:?}");
        }
    }

    #[test]
    fn what_is_not_packed_is_nothing() {
        assert_eq!(Packing::of(b"\x7fELF"), None);
        assert_eq!(Packing::of(b""), None);
        let why = unpack(Packing::of(b"BZh9").unwrap(), b"BZh9", 10).unwrap_err();
        assert_eq!(why.to_string(), "it is packed with bzip2");
    }
}
