//! What one seat may use of its host.

use serde::Serialize;

/// Bounds on a seat's resources. Every seat has all three; there is no "unlimited", because one learner's loop
/// must not end the class of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Thousandths of a CPU: 1500 is one and a half.
    pub cpu_millis: u32,
    /// Memory in MiB, without swap.
    pub memory_mib: u32,
    /// Processes and threads.
    pub pids: u32,
}

impl Limits {
    /// The bounds of each value: 0.01 to 256 CPUs; 16 MiB to 1 TiB; 16 to 1,000,000 processes.
    const CPU_MILLIS: std::ops::RangeInclusive<u32> = 10..=256_000;
    const MEMORY_MIB: std::ops::RangeInclusive<u32> = 16..=1_048_576;
    const PIDS: std::ops::RangeInclusive<u32> = 16..=1_000_000;

    /// # Errors
    /// When a value is outside its bounds; the first such value is named.
    pub fn checked(self) -> Result<Self, InvalidLimits> {
        if !Self::CPU_MILLIS.contains(&self.cpu_millis) {
            return Err(InvalidLimits::Cpus);
        }
        if !Self::MEMORY_MIB.contains(&self.memory_mib) {
            return Err(InvalidLimits::Memory);
        }
        if !Self::PIDS.contains(&self.pids) {
            return Err(InvalidLimits::Pids);
        }
        Ok(self)
    }
}

impl Default for Limits {
    /// One CPU, 1 GiB and 512 processes: room for an editor's language server, thirty times on a 32 GiB host.
    fn default() -> Self {
        Self { cpu_millis: 1000, memory_mib: 1024, pids: 512 }
    }
}

/// Which limit is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimits {
    /// [`Limits::cpu_millis`].
    #[error("cpus is from 0.01 to 256")]
    Cpus,
    /// [`Limits::memory_mib`].
    #[error("memory_mib is from 16 to 1048576")]
    Memory,
    /// [`Limits::pids`].
    #[error("pids is from 16 to 1000000")]
    Pids,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_bounds_and_the_edges_hold() {
        let good = Limits::default();
        assert_eq!(good.checked(), Ok(good));
        assert_eq!(Limits { cpu_millis: 9, ..good }.checked(), Err(InvalidLimits::Cpus));
        assert_eq!(Limits { cpu_millis: 256_001, ..good }.checked(), Err(InvalidLimits::Cpus));
        assert_eq!(Limits { memory_mib: 15, ..good }.checked(), Err(InvalidLimits::Memory));
        assert_eq!(Limits { pids: 15, ..good }.checked(), Err(InvalidLimits::Pids));
    }
}
