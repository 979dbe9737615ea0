//! Clock and random numbers.

use std::fs::OpenOptions;

use rustix::time::{ClockId, Timespec};

use crate::sys;

/// Sets the clock, in nanoseconds since 1970.
pub(super) fn set_clock(unix_ns: u64) -> Result<(), String> {
    const SECOND: u64 = 1_000_000_000;
    let time =
        Timespec { tv_sec: (unix_ns / SECOND).cast_signed(), tv_nsec: (unix_ns % SECOND).cast_signed() };
    rustix::time::clock_settime(ClockId::Realtime, time)
        .map_err(|why| format!("the clock cannot be set to {} s after 1970: {why}", unix_ns / SECOND))
}

/// Gives the kernel random bytes of the host's, and has it make no number of anything else from here on: in a guest that goes on from a
/// snapshot it would make the same ones as in all others that do.
pub(super) fn add_entropy(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    let random = OpenOptions::new().write(true).open("/dev/random");
    random
        .and_then(|random| sys::add_entropy(&random, bytes).and_then(|()| sys::reseed(&random)))
        .map_err(|why| format!("the kernel does not take random bytes: {why}"))
}
