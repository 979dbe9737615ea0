//! How long things may take that come from other processes.

use std::time::Duration;

/// How long a keeper and a monitor may take to start, on a host that is busy with a class.
pub(super) const START: Duration = Duration::from_secs(60);
/// How long a monitor may take for one command.
pub(super) const COMMAND: Duration = Duration::from_secs(30);
/// How long a guest may take to be written down, beside what its memory takes: until the monitor has stopped it, and the disk has its name.
const SAVE: Duration = Duration::from_secs(60);
/// How much of a guest's memory a slow disk writes, copies, syncs and reads again in a second, in MiB.
const SAVED_MIB: u32 = 4;
/// How long apart a monitor is asked whether something has come about that it does not tell.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How long a killed process may take to be gone, and a keeper to tidy up after it.
pub(super) const END: Duration = Duration::from_secs(30);
/// How long a process that closed its sockets may take to end.
pub(super) const ENDING: Duration = Duration::from_secs(5);

/// How long a guest with so much memory, in MiB, may take to be written down and read again.
pub(crate) fn saved(memory_mib: u32) -> Duration {
    SAVE + Duration::from_secs(u64::from(memory_mib / SAVED_MIB))
}
