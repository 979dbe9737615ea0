//! The clock of this host, which an outer guest has as its own.
//!
//! QEMU gives a translated guest this host's time stamp counter. The guest's kernel finds out by a timer how fast that counts, and finds several times too much
//! where QEMU has to wait for a processor meanwhile: its seconds are too short then, and what it waits for is late. So it is told.

use std::time::{Duration, Instant};

/// How long the counter is watched.
const WATCH: Duration = Duration::from_millis(100);
/// Between clock, counter, and clock again; more when this thread had to wait in between.
const AT_ONCE: Duration = Duration::from_micros(20);
/// How often such a moment is looked for.
const TRIES: u32 = 1000;

/// How often this host's time stamp counter counts in a millisecond; nothing where there is none, or no moment to look at it.
pub(super) fn ticks_per_ms() -> Option<u64> {
    let (from, began) = moment()?;
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
    std::thread::sleep(WATCH);
    let (to, ended) = moment()?;
    let micros = u64::try_from((ended - began).as_micros()).ok()?;
    to.checked_sub(from)?.checked_mul(1000)?.checked_div(micros)
}

/// The counter, and when it was so.
fn moment() -> Option<(u64, Instant)> {
    (0..TRIES).find_map(|_| {
        let before = Instant::now();
        let ticks = counter()?;
        (before.elapsed() < AT_ONCE).then_some((ticks, before))
    })
}

#[cfg(target_arch = "x86_64")]
fn counter() -> Option<u64> {
    #[expect(unsafe_code, reason = "the processor's counter has no safe function")]
    // SAFETY: reading it has no other effect; Linux lets every process read it unless prctl(2) forbade that (PR_SET_TSC).
    Some(unsafe { std::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_processor_counts_some_times_in_a_microsecond() {
        let ticks = ticks_per_ms().unwrap();
        assert!((200_000..20_000_000).contains(&ticks), "{ticks} in a millisecond");
    }
}
