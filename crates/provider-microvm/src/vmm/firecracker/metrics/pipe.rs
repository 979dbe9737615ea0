//! The pipe through which the metrics come.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, mknodat, open, openat};
use rustix::process::{Gid, Uid};
use seats::Measurement;
use tokio::net::unix::pipe::Receiver;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::counted::Counts;
use super::{ALL, Measured};
use crate::vmm::firecracker::{Api, Attached, BalloonStats};
use crate::vmm::{UserIds, folder};

/// The longest line that is read, in bytes. One of Firecracker 1.17 has some 7,000, and 1,500 more for each further device.
const LONGEST_LINE: usize = 128 * 1024;
/// How much is read at once: what a pipe holds.
const AT_ONCE: usize = 64 * 1024;
/// How often is read when nobody watches any more: more than once, should the pipe have been made larger, and not for ever.
const LAST_READS: usize = 4;
/// How long is waited after each read. There is a line a minute; a process that writes without end is read so slowly.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the guest's statistics are waited for. They are Firecracker's to tell at once.
const STATISTICS: Duration = Duration::from_secs(5);

const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes the pipe beside a process's socket, for its user.
pub(in crate::vmm::firecracker) fn create(api: &Api, user: Option<UserIds>) -> io::Result<()> {
    let folder = open(api.folder(), PLACE, Mode::empty())?;
    mknodat(&folder, folder::METRICS, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    if let Some(UserIds { uid, gid }) = user {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(&folder, folder::METRICS, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The reading of one VM's metrics, as long as this is there.
#[derive(Debug)]
pub(in crate::vmm) struct Reading {
    task: AbortHandle,
    stream: Arc<Stream>,
}

/// What comes through a pipe.
#[derive(Debug)]
struct Stream {
    receiver: Receiver,
    /// Held from the reading of a piece until it is counted.
    lines: Mutex<Lines>,
    measured: Arc<Mutex<Measured>>,
}

impl Reading {
    /// Reads from now on, on a task of its own. The process must have opened the pipe.
    ///
    /// # Errors
    /// When there is no pipe, such as of a VM that was started by a service which made none.
    pub(in crate::vmm) fn start(api: Arc<Api>) -> io::Result<Self> {
        let receiver = reader(api.folder())?;
        let measured = Arc::<Mutex<Measured>>::default();
        locked(&ALL).watched.push(Arc::clone(&measured));
        let stream = Arc::new(Stream { receiver, lines: Mutex::default(), measured });
        let task = tokio::spawn(read(Arc::clone(&stream), api)).abort_handle();
        Ok(Self { task, stream })
    }

    /// What is known of this one VM.
    pub(in crate::vmm) fn measurements(&self) -> Vec<Measurement> {
        let one = locked(&self.stream.measured);
        let told = one.memory.clone();
        super::measured(&one.counts, usize::from(!one.ended), told.as_slice())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
        // What a process writes at its end is there when it has ended, and the task may not have come to it. The kernel is asked itself: the runtime may not
        // have been told yet that there is something.
        let mut buffer = vec![0; AT_ONCE];
        let at_once = |receiver: &Receiver, buffer: &mut [u8]| Ok(rustix::io::read(receiver, buffer)?);
        for _ in 0..LAST_READS {
            if !matches!(self.stream.count(&mut buffer, at_once), Ok((1.., _))) {
                break;
            }
        }
        let mut all = locked(&ALL);
        all.watched.retain(|one| !Arc::ptr_eq(one, &self.stream.measured));
        // What was counted stays counted; what a guest that is not watched has of memory is not known.
        let measured = locked(&self.stream.measured);
        all.ended.add(&measured.counts);
    }
}

impl Stream {
    /// Reads a piece and counts what it says: how long it is, and whether there was anything to count.
    fn count(
        &self,
        buffer: &mut [u8],
        read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<(usize, bool)> {
        let mut lines = locked(&self.lines);
        let count = read(&self.receiver, buffer)?;
        let counts = lines.feed(buffer.get(..count).unwrap_or_default());
        if let Some(counts) = &counts {
            locked(&self.measured).counts.add(counts);
        }
        Ok((count, counts.is_some()))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the pipe, and nothing else that may lie there: the folder is the monitor's.
fn reader(folder: &Path) -> io::Result<Receiver> {
    let folder = open(folder, PLACE, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Refuses what is no pipe.
    Receiver::from_file(File::from(openat(&folder, folder::METRICS, flags, Mode::empty())?))
}

async fn read(stream: Arc<Stream>, api: Arc<Api>) {
    let mut buffer = vec![0; AT_ONCE];
    while stream.receiver.readable().await.is_ok() {
        match stream.count(&mut buffer, Receiver::try_read) {
            Ok((1.., counted)) => {
                if counted {
                    let told = timeout(STATISTICS, told(&api)).await.ok().flatten();
                    locked(&stream.measured).memory = told;
                }
                sleep(PAUSE).await;
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            // The end is that of the process, which alone has it open for writing.
            Ok(_) | Err(_) => break,
        }
    }
    let mut measured = locked(&stream.measured);
    (measured.memory, measured.ended) = (None, true);
}

/// What the guest last told of its memory.
async fn told(api: &Api) -> Option<BalloonStats> {
    match Attached::attach(api.clone()).await.ok()? {
        Attached::Running(machine) => machine.balloon_stats().await.ok(),
        Attached::Paused(machine) => machine.balloon_stats().await.ok(),
    }
}

/// Lines, of what comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// Whether the line that has begun is too long to be one.
    lost: bool,
}

impl Lines {
    /// What the lines say together that end in this piece; nothing when none does that is understood.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Option<Counts> {
        let mut sum: Option<Counts> = None;
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.keep(line);
            if let Some(counts) = Counts::read(&self.begun).filter(|_| !self.lost) {
                sum.get_or_insert_with(Counts::default).add(&counts);
            }
            *self = Self::default();
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest);
        sum
    }

    fn keep(&mut self, piece: &[u8]) {
        self.lost |= self.begun.len() + piece.len() > LONGEST_LINE;
        if self.lost {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(piece);
        }
    }
}
