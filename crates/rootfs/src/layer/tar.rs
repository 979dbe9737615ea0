//! Archives, entry by entry, in one pass and in bounded memory (POSIX.1-2017 ustar and pax, GNU's long names, numbers
//! and sparse files).
//!
//! Written here because a layer comes from anybody: what is held in memory is bounded before it is read, a checksum is
//! checked before a field is believed, and attributes are bytes.
//!
//! ```text
//!   [x: extended header][its records] [L: long name][the name] [header][content, to a multiple of 512] … [zeros]
//!    └─────────────── what belongs to one entry ──────────────────────────────────────────────────┘
//! ```

use std::io::{self, Read};

use super::number::{decimal, field, seconds};
use super::pax::Pax;
use super::skip::Skip;
use crate::{Extent, Time};

const BLOCK: usize = 512;
type Block = [u8; BLOCK];
/// The largest file of ext4 with blocks of 4 KiB, in bytes: 2^32 blocks (kernel documentation, filesystems/ext4, "Blocks").
/// Only a sparse one may claim to be that large without as many bytes behind it.
const MOST_FILE: u64 = (1 << 44) - 4096;

/// What an archive cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends in the middle.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// The sum over a header is another.
    #[error("a header's checksum is wrong: this is no archive, or it is damaged")]
    Checksum,
    /// A field of a header is no number.
    #[error("a header's field is no number")]
    Number,
    /// An extended header is not what it should be.
    #[error("an extended header is malformed")]
    Pax,
    /// The extended headers and long names of one entry are too large.
    #[error("its extended headers have more than {0} bytes")]
    Header(u64),
    /// A file that no file system takes.
    #[error("it is a file of more than {MOST_FILE} bytes")]
    FileSize,
    /// A sparse file's map contradicts itself.
    #[error("the map of a sparse file is impossible")]
    Sparse,
    /// A kind of entry that no image has.
    #[error("its kind {:?} is none that a file system has", char::from(*.0))]
    Kind(u8),
}

/// Why the next entry cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive is wrong.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// An entry's header, with everything that came before it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    /// The parts of a sparse file that are in the archive.
    pub(crate) data: Option<Box<[Extent]>>,
    pub(crate) mode: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: Time,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) xattrs: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
}

/// An archive that is read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    reader: R,
    /// Content of the current entry that was not read yet.
    left: u64,
    /// What fills its last block.
    padding: u64,
    most: u64,
    /// Where the next byte is, counted from where it began.
    position: u64,
}

impl<R: Skip> Archive<R> {
    /// `most`: the bytes of all extended headers and long names of one entry together.
    pub(crate) fn new(reader: R, most: u64) -> Self {
        Self { reader, left: 0, padding: 0, most, position: 0 }
    }

    /// The next entry; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Header>, TarError> {
        let mut pax = Pax::default();
        let (mut path, mut link) = (None, None);
        // There may be any number of headers before an entry, and what they say adds up.
        let mut room = self.most;
        loop {
            self.skip()?;
            let Some(block) = self.block()? else { return Ok(None) };
            let size = number(&block[124..136])?;
            match block[156] {
                b'L' => path = Some(until_nul(&self.header(size, &mut room)?).to_vec()),
                b'K' => link = Some(until_nul(&self.header(size, &mut room)?).to_vec()),
                b'x' => pax.read(&self.header(size, &mut room)?)?,
                // Global records are passed over, as container runtimes do: no tool means an image's files by them.
                b'g' => self.stored(size),
                _ => return self.entry(&block, pax, path, link).map(Some),
            }
        }
    }

    /// The content of the current entry: of a sparse file only the parts that have data.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// Where the content of the current entry begins, or goes on, counted from where the archive began.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads on to the very end, so that what hashes the stream has seen all of it.
    pub(super) fn drain(mut self) -> io::Result<()> {
        self.reader.skip(u64::MAX).map(drop)
    }

    fn entry(
        &mut self,
        block: &Block,
        pax: Pax,
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
    ) -> Result<Header, TarError> {
        let kind = block[156];
        let stored = pax.size.map_or_else(|| number(&block[124..136]), Ok)?;
        // Only files have content, whatever their header says (a hard link's is that of its target).
        let has_content = matches!(kind, 0 | b'0' | b'7' | b'S');
        let (mut size, mut data) = (if has_content { stored } else { 0 }, None);
        self.stored(size);
        let sparse = pax.sparse;
        if kind == b'S' {
            size = number(&block[483..495])?;
            data = Some(self.old_map(block)?);
        } else if sparse.major == Some(1) {
            size = sparse.real_size.ok_or(Malformed::Sparse)?;
            data = Some(self.map_of_data()?);
        } else if let Some(real_size) = sparse.real_size {
            size = real_size;
            data = Some(sparse.map);
        }
        if size > MOST_FILE {
            return Err(Malformed::FileSize.into());
        }
        let data = data.map(|map| checked(map, size, self.left)).transpose()?;
        let path = sparse.name.or(pax.path).or(path).unwrap_or_else(|| path_of(block));
        Ok(Header {
            kind,
            path,
            link: pax.link.or(link).unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            size,
            data,
            mode: number(&block[100..108])?,
            uid: pax.uid.map_or_else(|| number(&block[108..116]), Ok)?,
            gid: pax.gid.map_or_else(|| number(&block[116..124]), Ok)?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => Time { seconds: seconds(&block[136..148]).ok_or(Malformed::Number)?, nanos: 0 },
            },
            // Before ustar there were other things where the numbers of devices are now.
            major: if matches!(kind, b'3' | b'4') { number(&block[329..337])? } else { 0 },
            minor: if matches!(kind, b'3' | b'4') { number(&block[337..345])? } else { 0 },
            xattrs: pax.xattrs,
        })
    }

    /// The map in the header itself, and in blocks of its own behind it.
    fn old_map(&mut self, block: &Block) -> Result<Vec<Extent>, TarError> {
        let mut map = Vec::new();
        extents(&block[386..482], &mut map)?;
        let mut more = block[482] != 0;
        while more {
            let mut block = [0; BLOCK];
            self.reader.read_exact(&mut block).map_err(truncated)?;
            self.position += BLOCK as u64;
            extents(&block[..504], &mut map)?;
            more = block[504] != 0;
            if map.len() as u64 * 16 > self.most {
                return Err(Malformed::Header(self.most).into());
            }
        }
        Ok(map)
    }

    /// The map that stands before the content as decimal lines: how many, then offset and length of each.
    fn map_of_data(&mut self) -> Result<Vec<Extent>, TarError> {
        let mut text = Vec::new();
        let mut lines = 0_usize;
        let mut wanted = None;
        while wanted.is_none_or(|wanted| lines < wanted) {
            let mut block = [0; BLOCK];
            self.content().read_exact(&mut block).map_err(truncated)?;
            text.extend_from_slice(&block);
            lines += block.iter().filter(|&&byte| byte == b'\n').count();
            if text.len() as u64 > self.most {
                return Err(Malformed::Header(self.most).into());
            }
            if wanted.is_none() && lines > 0 {
                let first =
                    text.split(|&byte| byte == b'\n').next().and_then(decimal).ok_or(Malformed::Sparse)?;
                let pairs = usize::try_from(first)
                    .ok()
                    .and_then(|first| first.checked_mul(2))
                    .ok_or(Malformed::Sparse)?;
                wanted = Some(pairs.checked_add(1).ok_or(Malformed::Sparse)?);
            }
        }
        let mut numbers =
            text.split(|&byte| byte == b'\n').skip(1).take(wanted.unwrap_or(1) - 1).map(decimal);
        let mut map = Vec::new();
        while let Some(offset) = numbers.next() {
            let (Some(offset), Some(Some(len))) = (offset, numbers.next()) else {
                return Err(Malformed::Sparse.into());
            };
            map.push(Extent { offset, len });
        }
        Ok(map)
    }

    /// The content of an extended header or a long name.
    fn header(&mut self, size: u64, room: &mut u64) -> Result<Vec<u8>, TarError> {
        *room = room.checked_sub(size).ok_or(Malformed::Header(self.most))?;
        self.stored(size);
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// So many bytes come next, and what fills their last block.
    fn stored(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let wanted = self.left.checked_add(self.padding).ok_or(Malformed::Number)?;
        let skipped = if wanted == 0 { 0 } else { self.reader.skip(wanted)? };
        self.position += skipped;
        // The last block of the last entry may be cut off: what is missing is nothing.
        if skipped < self.left {
            return Err(Malformed::Truncated.into());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next header block; nothing at the end, which two blocks of zeros mark, or nothing at all.
    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK];
        let mut read = 0;
        while read < BLOCK {
            match self.reader.read(&mut block[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => return Err(Malformed::Truncated.into()),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum = |signed: bool| -> i64 {
            let bytes = block.iter().enumerate().map(|(at, &byte)| {
                let byte = if (148..156).contains(&at) { b' ' } else { byte };
                if signed { i64::from(byte.cast_signed()) } else { i64::from(byte) }
            });
            bytes.sum()
        };
        let stated = field(&block[148..156]).and_then(|stated| i64::try_from(stated).ok());
        // Some old programs summed signed bytes.
        if stated.is_none_or(|stated| stated != sum(false) && stated != sum(true)) {
            return Err(Malformed::Checksum.into());
        }
        Ok(Some(block))
    }
}

/// The content of an entry.
pub(crate) struct Content<'a, R>(&'a mut Archive<R>);

impl<R: Skip> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.0.reader.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Malformed::Truncated));
        }
        self.0.left -= read as u64;
        self.0.position += read as u64;
        Ok(read)
    }
}

fn truncated(error: io::Error) -> TarError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Malformed::Truncated.into(),
        _ => error.into(),
    }
}

fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    field(bytes).ok_or(Malformed::Number)
}

fn extents(fields: &[u8], map: &mut Vec<Extent>) -> Result<(), Malformed> {
    for pair in fields.chunks_exact(24) {
        let extent = Extent { offset: number(&pair[..12])?, len: number(&pair[12..])? };
        if extent != (Extent { offset: 0, len: 0 }) {
            map.push(extent);
        }
    }
    Ok(())
}

/// A map in order, disjoint, within the file, and of as much data as there is.
fn checked(map: Vec<Extent>, size: u64, stored: u64) -> Result<Box<[Extent]>, Malformed> {
    let (mut end, mut total) = (0_u64, 0_u64);
    for extent in &map {
        if extent.offset < end {
            return Err(Malformed::Sparse);
        }
        end = extent.offset.checked_add(extent.len).ok_or(Malformed::Sparse)?;
        total += extent.len;
    }
    if end > size || total != stored {
        return Err(Malformed::Sparse);
    }
    Ok(map.into_iter().filter(|extent| extent.len > 0).collect())
}

/// The path in the header itself; ustar has its beginning in a field of its own.
fn path_of(block: &Block) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU's headers have other things there.
    if &block[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
