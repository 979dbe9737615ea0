//! What the agent says on the console, one line each.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::OnceLock;

static CONSOLE: OnceLock<File> = OnceLock::new();

/// Opens the console, once `/dev` is there.
pub(crate) fn open() {
    // Not as the terminal of this process: whoever writes to it could send signals.
    let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    if let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open("/dev/console") {
        // A second time says the same.
        drop(CONSOLE.set(file));
    }
}

/// Says something, in one line. Nobody is there to tell when that fails.
pub(crate) fn say(message: impl Display) {
    let message = message.to_string();
    let clean: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = format!("clarateach-agent: {clean}\n");
    copy(line.as_bytes());
}

/// Writes something to the console as it is.
pub(crate) fn copy(bytes: &[u8]) {
    match CONSOLE.get() {
        Some(mut console) => drop(console.write_all(bytes)),
        None => drop(io::stderr().write_all(bytes)),
    }
}
