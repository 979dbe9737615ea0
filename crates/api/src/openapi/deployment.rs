//! What differs between two services with the same code.

use std::time::Duration;

use seats::{Limits, SeatBound};

use crate::ApiConfig;

/// The settings that show in the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployment {
    /// The highest seat number.
    pub(crate) bound: SeatBound,
    /// The most that a request may ask for.
    pub(crate) ceiling: Limits,
    /// The longest wait.
    pub(crate) max_wait: Duration,
    /// Whether callers need a token.
    pub(crate) token: bool,
}

impl Default for Deployment {
    /// Default settings, and for the limits the most that any service can allow.
    fn default() -> Self {
        let config = ApiConfig::default();
        let ceiling = Limits { cpu_millis: 256_000, memory_mib: 1_048_576, pids: 1_000_000 };
        Self { bound: config.bound, ceiling, max_wait: config.max_wait, token: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ceiling_is_the_domains_own_bound() {
        let Limits { cpu_millis, memory_mib, pids } = Deployment::default().ceiling;
        let good = Limits::default();
        assert!(Limits { cpu_millis, memory_mib, pids }.checked().is_ok());
        assert!(Limits { cpu_millis: cpu_millis + 1, ..good }.checked().is_err());
        assert!(Limits { memory_mib: memory_mib + 1, ..good }.checked().is_err());
        assert!(Limits { pids: pids + 1, ..good }.checked().is_err());
    }
}
