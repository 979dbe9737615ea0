//! A file without a name, for what comes over a wire and is read twice.
//!
//! ```text
//!   stream ──► channel of a few chunks ──► a thread that writes ──► file without a name ──► Blobs
//! ```
//!
//! It never has a name that outlives its making, so whatever ends this process, or the future that waits for the stream,
//! the file system takes the space back by itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::space::{self, NoRoom};

/// Chunks that wait for the disk: enough that neither side waits for each of them, and a few hundred kilobytes at most.
const WAITING: usize = 8;

/// Why a stream cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder takes no files.
    #[error("cannot make a file in {}: {why}", .folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// There is no room.
    #[error("no space left in {}: an image needs room there while it is converted", .folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
    },
    /// There is less room than the image is known to need, so nothing was fetched.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The disk fails.
    #[error("cannot write in {}: {why}", .folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// The stream is longer than any image may be.
    #[error("the image has more than {0} bytes, which is the limit")]
    TooLarge(u64),
    /// The thread that writes is gone.
    #[error("the thread that writes the image ended early")]
    Ended,
}

/// Bytes and their place.
type Chunk = (u64, Bytes);

/// A file that is being filled.
#[derive(Debug)]
pub(super) struct Spool {
    to: mpsc::Sender<Chunk>,
    writer: JoinHandle<Result<File, SpoolError>>,
}

/// Fills a part of the file.
#[derive(Clone, Debug)]
pub(super) struct SpoolSender(mpsc::Sender<Chunk>);

impl Spool {
    /// Begins a file in `folder` that takes `most` bytes. Must be called on a runtime.
    pub(super) fn begin(folder: &Path, most: u64) -> Self {
        let (to, from) = mpsc::channel(WAITING);
        let folder = folder.to_owned();
        let writer = tokio::task::spawn_blocking(move || write(&folder, from, most));
        Self { to, writer }
    }

    pub(super) fn sender(&self) -> SpoolSender {
        SpoolSender(self.to.clone())
    }

    /// Waits until all is written. Senders must be gone, or it waits for them.
    pub(super) async fn finish(self) -> Result<File, SpoolError> {
        drop(self.to);
        self.writer.await.map_err(|_| SpoolError::Ended)?
    }
}

/// Refuses what the folder has no room for, before it is asked for.
pub(super) async fn room(folder: &Path, needed: u64) -> Result<(), SpoolError> {
    let folder = folder.to_owned();
    // The disk may be one behind a network.
    let asked = tokio::task::spawn_blocking(move || space::room(&folder, needed)).await;
    Ok(asked.map_err(|_| SpoolError::Ended)??)
}

impl SpoolSender {
    /// Waits for a place in the queue. [`SpoolError::Ended`] means that [`Spool::finish`] tells why.
    pub(super) async fn write(&self, at: u64, bytes: Bytes) -> Result<(), SpoolError> {
        self.0.send((at, bytes)).await.map_err(|_| SpoolError::Ended)
    }
}

fn write(folder: &Path, mut from: mpsc::Receiver<Chunk>, most: u64) -> Result<File, SpoolError> {
    let file = unnamed(folder).map_err(|why| match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            SpoolError::Full { folder: folder.into() }
        }
        _ => SpoolError::Open { folder: folder.into(), why },
    })?;
    while let Some((at, bytes)) = from.blocking_recv() {
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > most) {
            return Err(SpoolError::TooLarge(most));
        }
        file.write_all_at(&bytes, at).map_err(|why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SpoolError::Full { folder: folder.into() }
            }
            _ => SpoolError::Write { folder: folder.into(), why },
        })?;
    }
    Ok(file)
}

const FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file that never had a name, or where the file system can't do that, one whose name is gone already.
fn unnamed(folder: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match rustix::fs::open(folder, FLAGS | OFlags::TMPFILE, MODE) {
        Ok(file) => return Ok(file.into()),
        // open(2): what file systems and kernels without O_TMPFILE say.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    unlinked(folder)
}

/// A file whose name is gone already.
fn unlinked(folder: &Path) -> io::Result<File> {
    const TRIES: u32 = 100;
    for number in 0..TRIES {
        let path = folder.join(format!(".spool-{}-{number}", std::process::id()));
        match rustix::fs::open(&path, FLAGS | OFlags::CREATE | OFlags::EXCL, MODE) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file.into());
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn is_empty(folder: &Path) -> bool {
        std::fs::read_dir(folder).unwrap().next().is_none()
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::begin(folder.path(), 6);
        let sender = spool.sender();
        sender.write(3, Bytes::from_static(b"def")).await.unwrap();
        sender.write(0, Bytes::from_static(b"abc")).await.unwrap();
        drop(sender);
        let mut text = String::new();
        spool.finish().await.unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef");
        assert!(is_empty(folder.path()));
    }

    #[tokio::test]
    async fn an_endless_stream_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::begin(folder.path(), 1000);
        let sender = spool.sender();
        let mut at = 0;
        while sender.write(at, Bytes::from_static(&[0; 64])).await.is_ok() {
            at += 64;
        }
        drop(sender);
        assert!(at <= 1000 + 64 * (WAITING as u64 + 2), "{at}");
        assert!(matches!(spool.finish().await, Err(SpoolError::TooLarge(1000))));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        let error = Spool::begin(&missing, 1).finish().await.unwrap_err();
        assert!(matches!(&error, SpoolError::Open { folder, .. } if *folder == missing), "{error}");
    }

    #[test]
    fn the_way_of_other_systems_leaves_no_name_either() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (unlinked(folder.path()).unwrap(), unlinked(folder.path()).unwrap());
        one.write_all_at(b"1", 0).unwrap();
        two.write_all_at(b"2", 0).unwrap();
        assert!(is_empty(folder.path()));
    }
}
