//! The memory of a seat's processes on the host.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bench::objects::MEMORY_MIB;

/// Proportional set sizes (`proc_pid_smaps(5)`), in MiB.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Of the one mapping that is the guest's memory.
    pub(super) guest: f64,
    /// Of everything else of the monitor, and of its keeper.
    pub(super) beyond: f64,
}

impl Memory {
    /// What each of so many had that went, of all and of what stayed.
    pub(super) fn each_of(self, stayed: Self, went: u16) -> Self {
        let each = |all: f64, stayed: f64| (all - stayed) / f64::from(went);
        Self { guest: each(self.guest, stayed.guest), beyond: each(self.beyond, stayed.beyond) }
    }

    /// Of the processes of one seat, by their numbers.
    pub(super) fn of(processes: &[i64]) -> Result<Self> {
        let mut mappings = Vec::new();
        for process in processes {
            mappings.extend(self::mappings(*process)?);
        }
        let inside = guest(&mappings, u64::from(MEMORY_MIB) << 20);
        let inside = inside.with_context(|| format!("none of {processes:?} has a guest's memory"))?;
        let all: u64 = mappings.iter().map(|(_, kib)| kib).sum();
        Ok(Self { guest: inside as f64 / 1024.0, beyond: (all - inside) as f64 / 1024.0 })
    }
}

/// The proportional set size in KiB of the mapping that is a guest's memory of so many bytes. The kernel joins what a monitor maps without a file with what is beside it.
fn guest(mappings: &[(u64, u64)], bytes: u64) -> Option<u64> {
    let (_, kib) = mappings.iter().filter(|(size, _)| *size >= bytes).min_by_key(|(size, _)| size)?;
    Some(*kib)
}

/// The size in bytes of each mapping, and its proportional set size in KiB.
fn mappings(pid: i64) -> Result<Vec<(u64, u64)>> {
    let path = format!("/proc/{pid}/smaps");
    parsed(&fs::read_to_string(&path).context(path)?).context("smaps is not as expected")
}

fn parsed(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut size = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next()?, words.next()) {
            ("Size:", Some(kib)) => size = kib.parse::<u64>().ok()? * 1024,
            ("Pss:", Some(kib)) => found.push((size, kib.parse().ok()?)),
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_have_a_size_and_a_share() {
        let text = "7f00-7f01 rw-p 00000000 00:01 2 /memfd:memory (deleted)\nSize:             131072 kB\nRss: 9 kB\n\
                    Pss:                  64 kB\nPss_Dirty: 60 kB\n7f02-7f03 r--p 0 0:0 0\nSize: 4 kB\nPss: 1 kB\n";
        assert_eq!(parsed(text), Some(vec![(128 << 20, 64), (4096, 1)]));
    }

    #[test]
    fn what_went_is_shared_out() {
        let of = |guest, beyond| Memory { guest, beyond };
        let Memory { guest, beyond } = of(100.0, 30.0).each_of(of(60.0, 20.0), 4);
        assert_eq!((guest, beyond), (10.0, 2.5));
    }

    #[test]
    fn the_guest_is_the_smallest_that_it_fits_in() {
        let mappings = [(4096, 1), ((128 << 20) + 8192, 7), (1 << 30, 9)];
        assert_eq!(guest(&mappings, 128 << 20), Some(7));
        assert_eq!(guest(&[(128 << 20, 5), (128 << 20, 6)], 128 << 20), Some(5), "the first of two");
        assert_eq!(guest(&mappings[..1], 128 << 20), None);
    }
}
