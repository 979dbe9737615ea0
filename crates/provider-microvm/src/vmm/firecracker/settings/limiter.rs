//! Rate limiters: token buckets for bytes and operations.

use serde::Serialize;

use super::{Check, SettingError, bound};
use crate::vmm::Throttle;

/// Tokens that are used up and come back with time.
///
/// A bucket without a size or a time to fill is no limit: [`TokenBucket::OFF`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenBucket {
    /// How many it holds, and how many come back in `refill_time`: at most 2⁶³ - 1.
    pub size: u64,
    /// How many there are once, beyond `size`, before it begins to fill: at most 2⁶³ - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_time_burst: Option<u64>,
    /// How many milliseconds it takes to fill: at most 2⁶³ - 1.
    pub refill_time: u64,
}

/// How fast something may be used. What is not there has no limit, or in a change stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RateLimiter {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<TokenBucket>,
    /// Operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<TokenBucket>,
}

impl TokenBucket {
    /// No limit; in a change it takes one away.
    pub const OFF: Self = Self { size: 0, one_time_burst: None, refill_time: 0 };

    /// So many tokens a second, with bursts of one second; zero is without a limit.
    #[must_use]
    pub fn per_second(tokens: u64) -> Self {
        if tokens == 0 { Self::OFF } else { Self { size: tokens, one_time_burst: None, refill_time: 1000 } }
    }
}

/// Both limits are given, so that a change takes away what has none.
impl From<Throttle> for RateLimiter {
    fn from(throttle: Throttle) -> Self {
        let Throttle { bytes_per_second, operations_per_second } = throttle;
        let bucket = |tokens| Some(TokenBucket::per_second(tokens));
        Self { bandwidth: bucket(bytes_per_second), ops: bucket(operations_per_second) }
    }
}

impl Check for TokenBucket {
    fn check(&self) -> Result<(), SettingError> {
        let Self { size, one_time_burst, refill_time } = *self;
        let fits = [size, one_time_burst.unwrap_or(0), refill_time]
            .into_iter()
            .all(|number| i64::try_from(number).is_ok());
        bound(fits, "a rate limiter's numbers are at most 9223372036854775807")
    }
}

impl Check for RateLimiter {
    fn check(&self) -> Result<(), SettingError> {
        [self.bandwidth, self.ops].iter().flatten().try_for_each(TokenBucket::check)
    }
}

/// Checks those that are there.
pub(super) fn all<'a>(
    limiters: impl IntoIterator<Item = &'a Option<RateLimiter>>,
) -> Result<(), SettingError> {
    limiters.into_iter().flatten().try_for_each(RateLimiter::check)
}
