//! Whether sleeps end.
//!
//! A kernel measures its timer while it boots, against a clock that goes on when the machine is kept waiting. One whose host keeps it waiting at the wrong moment
//! finds the timer too slow, and does without any (`calibrate_APIC_clock()`, arch/x86/kernel/apic/apic.c). Everything works then that does not wait for a time to pass; what
//! does waits for ever, and a machine that goes on from a snapshot of such a one has no timer either.

use std::thread;
use std::time::{Duration, Instant};

use guest_protocol::NO_TIMER;

/// What is slept for.
const SLEEP: Duration = Duration::from_millis(1);
/// How long that may take while this machine runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// What counts of a jump of the clock: while this machine is kept waiting, nothing of it can end.
const JUMP: Duration = Duration::from_millis(10);
/// How often in a row the clock may say the same. One that is moved by the timer stands still without it.
const STILL: u32 = 1_000_000;

/// Finds out whether a sleep ends.
///
/// # Errors
/// When it does not, in words for the console that begin with [`NO_TIMER`].
pub(super) fn check() -> Result<(), String> {
    let began = Instant::now();
    let clock = || {
        // Waiting in any other way would need the timer.
        thread::yield_now();
        began.elapsed()
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it is on a thread of its own, and no runtime is there yet"
    )]
    ends(|| thread::sleep(SLEEP), clock)
}

/// Waits for a sleep on a thread of its own, and meanwhile looks at nothing but the clock.
fn ends(sleep: impl FnOnce() + Send + 'static, mut clock: impl FnMut() -> Duration) -> Result<(), String> {
    let sleeper = thread::Builder::new().name("timer".to_owned()).spawn(sleep);
    let sleeper = sleeper.map_err(|why| format!("no thread can be started: {why}"))?;
    let (mut last, mut waited, mut still) = (clock(), Duration::ZERO, 0);
    while !sleeper.is_finished() {
        let now = clock();
        still = if now == last { still + 1 } else { 0 };
        waited += now.saturating_sub(last).min(JUMP);
        last = now;
        if waited >= PATIENCE || still >= STILL {
            return Err(format!(
                "{NO_TIMER}: a sleep of a millisecond does not end. Its kernel gives the timer up when a busy host keeps the machine waiting while it boots; \
                 starting it again helps, best when the host has less to do"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sleep that does not end before the sender is dropped.
    fn endless() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        (sender, move || {
            let _ = receiver.recv();
        })
    }

    #[test]
    fn a_sleep_ends_here() {
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn a_sleep_that_takes_long_is_waited_for() {
        let (sender, sleep) = endless();
        let (mut sender, mut time) = (Some(sender), Duration::ZERO);
        let clock = || {
            time += Duration::from_millis(1);
            if time > PATIENCE * 9 / 10 {
                // From here on no time passes until it ends.
                sender = None;
                time = PATIENCE * 9 / 10;
                thread::yield_now();
            }
            time
        };
        assert_eq!(ends(sleep, clock), Ok(()));
    }

    /// How often the clock is looked at before a sleep that does not end is given up.
    fn looks(step: Duration) -> u32 {
        let (_sender, sleep) = endless();
        let (mut looks, mut time) = (0, Duration::ZERO);
        let clock = || {
            looks += 1;
            time += step;
            time
        };
        let why = ends(sleep, clock).unwrap_err();
        assert!(why.starts_with(NO_TIMER) && why.contains("starting it again"), "{why}");
        looks
    }

    #[test]
    fn a_sleep_that_does_not_end_is_given_up() {
        assert_eq!(looks(Duration::from_millis(1)), 10_001);
        // A clock that stands still.
        assert_eq!(looks(Duration::ZERO), STILL + 1);
        // Of a machine that is kept waiting for hours, the time that it runs counts.
        assert_eq!(looks(Duration::from_secs(3600)), 1001);
    }
}
