//! The pipe through which the metrics come.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, mknodat, open, openat};
use rustix::process::{Gid, Uid};
use seats::Measurement;
use tokio::io::AsyncReadExt as _;
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
        ALL.lock().unwrap_or_else(PoisonError::into_inner).watched.push(Arc::clone(&measured));
        let task = tokio::spawn(read(receiver, api, Arc::clone(&measured))).abort_handle();
        Ok(Self { task, measured })
    }

    /// What is known of this one VM.
    pub(in crate::vmm) fn measurements(&self) -> Vec<Measurement> {
        let one = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let told = one.memory.clone();
        super::measured(&one.counts, usize::from(!one.ended), told.as_slice())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.watched.retain(|one| !Arc::ptr_eq(one, &self.measured));
        // What was counted stays counted; what a guest that is not watched has of memory is not known.
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        all.ended.add(&measured.counts);
    }
}

/// Opens the pipe, and nothing else that may lie there: the folder is the monitor's.
fn reader(folder: &Path) -> io::Result<Receiver> {
    let folder = open(folder, PLACE, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Refuses what is no pipe.
    Receiver::from_file(File::from(openat(&folder, folder::METRICS, flags, Mode::empty())?))
}

async fn read(mut receiver: Receiver, api: Arc<Api>, measured: Arc<Mutex<Measured>>) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; AT_ONCE];
    // The end is that of the process, which alone has it open for writing.
    while let Ok(count @ 1..) = receiver.read(&mut buffer).await {
        let read = buffer.get(..count).unwrap_or_default();
        let counts = lines.feed(read);
        if let Some(counts) = counts {
            measured.lock().unwrap_or_else(PoisonError::into_inner).counts.add(&counts);
            let told = timeout(STATISTICS, told(&api)).await.ok().flatten();
            measured.lock().unwrap_or_else(PoisonError::into_inner).memory = told;
        }
        sleep(PAUSE).await;
    }
    let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
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
