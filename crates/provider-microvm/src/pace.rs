//! How fast a guest's changes are read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// An agent has a few changes when its seat starts, and when its workload ends. A guest that somebody has taken over may send them without a pause, and is read no
/// faster than this, so that others have their share of the service.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    changes: u32,
}

/// So many changes are read within that time.
const MOST: u32 = 50;
const WITHIN: Duration = Duration::from_secs(1);

impl Pace {
    #[expect(clippy::disallowed_methods, reason = "it is no figure, and has to go with what sleeps")]
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), changes: 0 }
    }

    /// Counts a change, and waits where there were too many of late.
    pub(crate) async fn keep(&mut self) {
        if self.since.elapsed() >= WITHIN {
            *self = Self::new();
        }
        if self.changes == MOST {
            sleep_until(self.since + WITHIN).await;
            *self = Self::new();
        }
        self.changes += 1;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it is the paused clock that is looked at")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_changes_are_read_at_once_and_many_are_not() {
        let mut pace = Pace::new();
        let began = Instant::now();
        for _ in 0..MOST {
            pace.keep().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..3 * MOST {
            pace.keep().await;
        }
        assert_eq!(began.elapsed().as_secs(), 3);
        // Those of long ago do not count.
        tokio::time::sleep(WITHIN).await;
        let later = Instant::now();
        for _ in 0..MOST {
            pace.keep().await;
        }
        assert_eq!(later.elapsed(), Duration::ZERO);
    }
}
