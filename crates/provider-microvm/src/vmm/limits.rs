//! How long things may take that come from other processes.

use std::time::Duration;

/// How long a keeper and a monitor may take to start, on a host that is busy with a class.
pub(super) const START: Duration = Duration::from_secs(60);
/// How long a monitor may take for one command.
pub(super) const COMMAND: Duration = Duration::from_secs(30);
/// How long apart a monitor is asked whether something has come about that it does not tell.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How long a killed process may take to be gone, and a keeper to tidy up after it.
pub(super) const END: Duration = Duration::from_secs(30);
/// How long a process that closed its sockets may take to end.
pub(super) const ENDING: Duration = Duration::from_secs(5);
