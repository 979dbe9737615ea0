//! When a guest's clock is to be looked at.

use std::time::{Duration, Instant};

use crate::link::TOLERANCE;

/// How often it is looked whether the host slept.
const SLEPT_EVERY: Duration = Duration::from_secs(5);

/// When a clock is to be looked at: at first, now and then, and at once after the host slept.
pub(crate) struct Clocks<Asleep> {
    every: Duration,
    /// How often it is looked whether the host slept.
    pace: Duration,
    /// For how long the host has slept so far.
    asleep: Asleep,
    /// When it was, and how long the host had slept by then.
    looked: Option<(Instant, Duration)>,
}

impl<Asleep: Fn() -> Duration> Clocks<Asleep> {
    pub(crate) fn new(every: Duration, asleep: Asleep) -> Self {
        Self { every, pace: SLEPT_EVERY, asleep, looked: None }
    }

    /// Waits until it is time. May be dropped and called again.
    pub(crate) async fn due(&mut self) {
        while let Some((looked, slept)) = self.looked {
            let left = self.every.saturating_sub(looked.elapsed());
            tokio::time::sleep(left.min(self.pace)).await;
            if looked.elapsed() >= self.every || (self.asleep)() > slept + TOLERANCE {
                break;
            }
        }
        self.looked = Some((Instant::now(), (self.asleep)()));
    }
}

/// For how long the host has slept since it was started: the clock that counts that, less the one that does not
/// (`clock_gettime(2)`).
pub(crate) fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::timeout;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    /// Long enough to look often.
    const WHILE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_clock_is_looked_at_at_first_and_at_once_after_the_host_slept() {
        let slept = AtomicU64::new(7);
        let sleeps = |seconds| slept.fetch_add(seconds, Ordering::Relaxed);
        let mut clocks = Clocks::new(DAY, || Duration::from_secs(slept.load(Ordering::Relaxed)));
        clocks.pace = Duration::from_millis(1);
        clocks.due().await;

        // What it slept before counts for nothing, and so little of it is within what a clock may be off.
        sleeps(TOLERANCE.as_secs());
        assert!(timeout(WHILE, clocks.due()).await.is_err(), "nothing has happened");
        for _ in 0..2 {
            sleeps(60);
            clocks.due().await;
            assert!(timeout(WHILE, clocks.due()).await.is_err(), "it was looked at since");
        }
    }

    #[tokio::test]
    async fn a_clock_is_looked_at_now_and_then_though_the_host_never_slept() {
        let mut clocks = Clocks::new(Duration::from_millis(5), || Duration::ZERO);
        for _ in 0..3 {
            clocks.due().await;
        }
    }
}
