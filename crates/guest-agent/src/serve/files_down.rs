//! Out of the seat.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use guest_protocol::{GuestPath, Problem, ProblemCode};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::files::{is_made_up, kind, open};

/// How deep folders may be.
const DEEPEST: usize = 1000;
/// How much is sent at a time.
const PIECE: usize = 32 << 10;

/// What was asked for: a file or a folder.
#[derive(Debug)]
pub(super) struct Found {
    file: OwnedFd,
    name: PathBuf,
}

impl Found {
    pub(super) fn open(path: &GuestPath) -> Result<Self, Problem> {
        let file = open(path, OFlags::PATH)?;
        let stat = fstat(&file).map_err(|why| Problem::new(ProblemCode::Failed, format!("{path}: {why}")))?;
        let flags = match kind(&stat) {
            FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            FileType::RegularFile => OFlags::RDONLY,
            _ => {
                let message = format!("{path} is neither a file nor a folder");
                return Err(Problem::new(ProblemCode::Invalid, message));
            }
        };
        // Not before it was known to be no pipe, which would wait for its other end.
        let file = open(path, flags | OFlags::NONBLOCK)?;
        Ok(Self { file, name: path.name().unwrap_or(".").into() })
    }
}

/// Writes the archive.
pub(super) fn write(found: Found, sender: mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let pieces = io::BufWriter::with_capacity(PIECE, Pieces(sender));
    let mut archive = Builder::new(pieces);
    let stat = fstat(&found.file)?;
    match kind(&stat) {
        FileType::Directory => folder(&mut archive, &found.file, &found.name, &stat, 0)?,
        _ => file(&mut archive, found.file, &found.name)?,
    }
    archive.into_inner()?.flush()
}

type Archive = Builder<io::BufWriter<Pieces>>;

fn folder(archive: &mut Archive, folder: &OwnedFd, path: &Path, stat: &Stat, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!("{} is too deep", path.display())));
    }
    archive.append_data(&mut header(stat, EntryType::Directory, 0), path, io::empty())?;
    if is_made_up(folder) {
        return Ok(());
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        match one(archive, folder, name, &path, depth) {
            // Gone since it was listed.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn one(archive: &mut Archive, parent: &OwnedFd, name: &CStr, path: &Path, depth: usize) -> io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let below = |flags| {
        openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    };
    match kind(&stat) {
        FileType::Directory => {
            folder(archive, &below(OFlags::RDONLY | OFlags::DIRECTORY)?, path, &stat, depth + 1)
        }
        FileType::RegularFile => file(archive, below(OFlags::RDONLY)?, path),
        FileType::Symlink => {
            let target = readlinkat(parent, name, Vec::new())?;
            let target = Path::new(OsStr::from_bytes(target.to_bytes()));
            archive.append_link(&mut header(&stat, EntryType::Symlink, 0), path, target)
        }
        FileType::Fifo => archive.append_data(&mut header(&stat, EntryType::Fifo, 0), path, io::empty()),
        // Sockets mean nothing elsewhere, and devices are this machine's.
        _ => Ok(()),
    }
}

fn file(archive: &mut Archive, file: OwnedFd, path: &Path) -> io::Result<()> {
    let stat = fstat(&file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    // One that shrinks while it is read is filled up: its header has gone already.
    let content = File::from(file).chain(io::repeat(0)).take(size);
    archive.append_data(&mut header(&stat, EntryType::Regular, size), path, content)
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header
}

/// Pieces of an answer as something to write to.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let size = piece.len();
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the host does not want it any more");
        self.0.blocking_send(Ok(piece)).map_err(gone)?;
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
