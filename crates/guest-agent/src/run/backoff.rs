//! How long to wait before a workload is started again.

use std::time::Duration;

use guest_protocol::Restart;

/// Pauses that double, and begin anew after a run that was long enough.
#[derive(Debug)]
pub(super) struct BackOff {
    restart: Restart,
    next_ms: u32,
}

impl BackOff {
    pub(super) fn new(restart: Restart) -> Self {
        Self { next_ms: restart.first_ms, restart }
    }

    /// The pause after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= Duration::from_millis(self.restart.reset_ms.into()) {
            self.next_ms = self.restart.first_ms;
        }
        let pause = self.next_ms.min(self.restart.longest_ms);
        self.next_ms = pause.saturating_mul(2).min(self.restart.longest_ms);
        Duration::from_millis(pause.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute_and_begin_anew() {
        let mut back_off = BackOff::new(Restart::default());
        let short = Duration::from_millis(9_999);
        let pauses: Vec<_> = (0..12).map(|_| back_off.after(short).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(back_off.after(Duration::from_secs(10)).as_millis(), 100);
        assert_eq!(back_off.after(short).as_millis(), 200);
    }

    #[test]
    fn odd_settings_do_not_overflow() {
        let restart = Restart { first_ms: u32::MAX, longest_ms: u32::MAX, ..Restart::default() };
        let mut back_off = BackOff::new(restart);
        for _ in 0..3 {
            assert_eq!(back_off.after(Duration::ZERO).as_millis(), u128::from(u32::MAX));
        }
        let zero = Restart { first_ms: 0, longest_ms: 0, reset_ms: 0, ..Restart::default() };
        assert_eq!(BackOff::new(zero).after(Duration::ZERO), Duration::ZERO);
    }
}
