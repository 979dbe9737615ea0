//! Waiting where there is no runtime.

use std::time::Duration;

use rustix::event::{Timespec, poll};

/// Waits for so long, which is less than a second; an interruption makes it shorter.
pub(super) fn pause(duration: Duration) {
    let pause = Timespec { tv_sec: 0, tv_nsec: duration.subsec_nanos().into() };
    let _ = poll(&mut [], Some(&pause));
}
