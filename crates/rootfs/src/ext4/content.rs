//! The content of files on its way into the library.

use std::io::{self, Read};

use mkext4::SparseSeg;

use crate::Extent;

/// A map of whole blocks as the library wants it: data and holes in turns, to the end of the file.
pub(super) fn segments(aligned: &[Extent], size: u64) -> Vec<SparseSeg> {
    let mut segments = Vec::new();
    let mut at = 0;
    for extent in aligned {
        if extent.offset > at {
            segments.push(SparseSeg::Hole(extent.offset - at));
        }
        segments.push(SparseSeg::Data(extent.len));
        at = extent.offset + extent.len;
    }
    if at < size {
        segments.push(SparseSeg::Hole(size - at));
    }
    segments
}

/// Fills the whole blocks of a sparse file from the parts of them that have data.
pub(super) struct Aligned<'a> {
    reader: &'a mut dyn Read,
    map: &'a [Extent],
    aligned: &'a [Extent],
    at: u64,
}

impl<'a> Aligned<'a> {
    pub(super) fn new(reader: &'a mut dyn Read, map: &'a [Extent], aligned: &'a [Extent]) -> Self {
        let at = aligned.first().map_or(0, |extent| extent.offset);
        Self { reader, map, aligned, at }
    }
}

impl Read for Aligned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let [extent, rest @ ..] = self.aligned
            && self.at == extent.offset + extent.len
        {
            self.aligned = rest;
            self.at = rest.first().map_or(self.at, |next| next.offset);
        }
        while let [part, rest @ ..] = self.map
            && part.offset + part.len <= self.at
        {
            self.map = rest;
        }
        let Some(extent) = self.aligned.first() else { return Ok(0) };
        let end = extent.offset + extent.len;
        let (until, is_data) = match self.map.first() {
            Some(part) if part.offset <= self.at => ((part.offset + part.len).min(end), true),
            Some(part) => (part.offset.min(end), false),
            None => (end, false),
        };
        let most = usize::try_from(until - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = if is_data {
            self.reader.read(&mut buffer[..most])?
        } else {
            buffer[..most].fill(0);
            most
        };
        self.at += read as u64;
        Ok(read)
    }
}

/// A reader by reference, for a library that wants one of a known size.
pub(super) struct Reader<'a>(pub(super) &'a mut dyn Read);

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
