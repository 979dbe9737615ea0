//! Named blobs: the files of a folder, or the members of an archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::layer::{Archive, Seekable, TarError};
use crate::{EntryPath, Limits};

/// The most members of an archive: an image of the most layers has three for each.
const MOST_MEMBERS: usize = 100_000;
/// The most bytes of their names and of what they link to, which are held in memory.
const MOST_NAMES: usize = 16 << 20;
/// How many links may lead from one member to the next.
const MOST_LINKS: usize = 8;

/// A set of blobs.
#[derive(Clone, Debug)]
pub(super) enum Blobs {
    Folder(PathBuf),
    Archive { file: Arc<File>, members: Arc<BTreeMap<Box<[u8]>, Member>> },
}

#[derive(Clone, Debug)]
pub(super) enum Member {
    /// Where its bytes are in the file.
    Bytes { offset: u64, len: u64 },
    /// `docker save` writes a layer that it has written already as a link to it.
    Link(EntryPath),
}

/// Why a blob cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is none of that name.
    #[error("it is not there")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
    /// The archive that it is in is malformed.
    #[error("it is no archive: {0}")]
    Archive(#[from] TarError),
    /// Far more members than an image has.
    #[error("it is no image: it has more than {MOST_MEMBERS} members, or {MOST_NAMES} bytes of their names")]
    TooMany,
    /// A pipe, a device, a folder.
    #[error("it is no file")]
    NoFile,
    /// A symbolic link in a folder, to something that is not in it.
    #[error("it is a link out of its folder")]
    Outside,
}

impl Blobs {
    pub(super) fn open(path: &Path) -> Result<Self, BlobError> {
        let found = std::fs::canonicalize(path).map_err(missing)?;
        if found.is_dir() {
            return Ok(Self::Folder(found));
        }
        Self::archive(regular(&found)?)
    }

    /// The members of an archive.
    pub(super) fn archive(file: File) -> Result<Self, BlobError> {
        let members = members(&file)?;
        Ok(Self::Archive { file: Arc::new(file), members: Arc::new(members) })
    }

    /// Parts of a file that is no archive: names, with where each begins and its length.
    #[cfg(feature = "registry")]
    pub(super) fn parts(file: File, parts: impl IntoIterator<Item = (String, u64, u64)>) -> Self {
        let member = |(name, offset, len): (String, u64, u64)| {
            (name.into_bytes().into(), Member::Bytes { offset, len })
        };
        let members = parts.into_iter().map(member).collect();
        Self::Archive { file: Arc::new(file), members: Arc::new(members) }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            Self::Archive { members, .. } => members.contains_key(name.as_bytes()),
        }
    }

    /// A blob from its beginning. Its name comes from a document of the image, so it is taken for a path inside and
    /// for nothing else.
    pub(super) fn read(&self, name: &str) -> Result<Box<dyn Blob>, BlobError> {
        let path = EntryPath::parse(name.as_bytes()).map_err(|_| BlobError::Missing)?;
        match self {
            Self::Folder(folder) => {
                use std::os::unix::ffi::OsStrExt as _;
                let path = folder.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
                let path = std::fs::canonicalize(path).map_err(missing)?;
                // Some tools link blobs that are the same; what is elsewhere on this host is none of the image's.
                if !path.starts_with(folder) {
                    return Err(BlobError::Outside);
                }
                Ok(Box::new(regular(&path)?))
            }
            Self::Archive { file, members } => {
                let mut wanted = &path;
                for _ in 0..MOST_LINKS {
                    match members.get(wanted.as_bytes()).ok_or(BlobError::Missing)? {
                        Member::Link(target) => wanted = target,
                        &Member::Bytes { offset, len } => {
                            return Ok(Box::new(Part { file: file.clone(), offset, len, at: 0 }));
                        }
                    }
                }
                Err(BlobError::Missing)
            }
        }
    }
}

fn missing(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::NotFound => BlobError::Missing,
        _ => BlobError::Io(error),
    }
}

/// Opens a file and nothing else: a pipe would wait for a writer, and a device never ends.
fn regular(path: &Path) -> Result<File, BlobError> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).map_err(|error| missing(error.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(BlobError::Io)?.is_file() {
        return Err(BlobError::NoFile);
    }
    Ok(file)
}

/// Where the members of an archive are; of several with one name the last counts.
fn members(file: &File) -> Result<BTreeMap<Box<[u8]>, Member>, BlobError> {
    let file = Seekable::new(file).map_err(BlobError::Io)?;
    let mut archive = Archive::new(file, Limits::default().header);
    let mut members = BTreeMap::new();
    let mut held = 0;
    while let Some(header) = archive.next()? {
        let Ok(path) = EntryPath::parse(&header.path) else { continue };
        let member = match header.kind {
            0 | b'0' | b'7' if header.data.is_none() => {
                Member::Bytes { offset: archive.position(), len: header.size }
            }
            b'1' => match EntryPath::parse(&header.link) {
                Ok(target) => Member::Link(target),
                Err(_) => continue,
            },
            b'2' => match beside(&path, &header.link) {
                Some(target) => Member::Link(target),
                None => continue,
            },
            _ => continue,
        };
        let target = if let Member::Link(target) = &member { target.as_bytes().len() } else { 0 };
        held += path.as_bytes().len() + target;
        members.insert(path.as_bytes().into(), member);
        if members.len() > MOST_MEMBERS || held > MOST_NAMES {
            return Err(BlobError::TooMany);
        }
    }
    Ok(members)
}

/// What a symbolic link leads to: `a/layer.tar -> ../b/layer.tar` is `b/layer.tar`.
fn beside(path: &EntryPath, target: &[u8]) -> Option<EntryPath> {
    let mut names: Vec<&[u8]> = path.names().collect();
    names.pop();
    for name in target.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    EntryPath::parse(&names.join(&b'/')).ok()
}

/// The bytes of a blob.
pub(super) trait Blob: Read + Seek + Send {}

impl<T: Read + Seek + Send> Blob for T {}

/// A part of a file, read without moving anybody else's place in it.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    offset: u64,
    len: u64,
    /// Where in the part the next byte is; never beyond its end.
    at: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.offset + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        match at.filter(|at| *at <= self.len) {
            Some(at) => {
                self.at = at;
                Ok(at)
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not in this part of the file")),
        }
    }
}
