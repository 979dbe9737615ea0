//! Waiting for something to appear in `/dev`.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags};

/// Looks until it is there: again whenever something changes in `/dev`. It blocks.
pub(crate) fn wait_for<T>(
    limit: Duration,
    mut find: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let changes = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    rustix::fs::inotify::add_watch(&changes, "/dev", WatchFlags::CREATE | WatchFlags::ATTRIB)?;
    let started = Instant::now();
    loop {
        // Looked at after the watch was there, so that nothing is missed.
        if let Some(found) = find()? {
            return Ok(Some(found));
        }
        let Some(left) = limit.checked_sub(started.elapsed()) else { return Ok(None) };
        // A node is there a moment before its attributes in /sys are: look again soon in any case.
        let soon = Timespec::try_from(left.min(Duration::from_millis(250))).unwrap_or_default();
        poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&soon))?;
        let mut buffer = [0; 4096];
        while rustix::io::read(&changes, &mut buffer).is_ok_and(|size| size > 0) {}
    }
}
