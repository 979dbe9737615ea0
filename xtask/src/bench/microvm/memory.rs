//! The memory of a seat's processes on the host.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::bench::objects::MEMORY_MIB;

/// Proportional set sizes (`proc_pid_smaps(5)`), in MiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    /// Of the one mapping that is as large as the guest's memory.
    pub(super) guest: f64,
    /// Of everything else of the monitor, and of its keeper.
    pub(super) beyond: f64,
}

impl Memory {
    /// Of a monitor and its keeper, by their process numbers.
    pub(super) fn of([monitor, keeper]: &[i64; 2]) -> Result<Self> {
        let mappings = mappings(*monitor)?;
        let guest = u64::from(MEMORY_MIB) << 20;
        let (_, inside) = mappings
            .iter()
            .find(|(size, _)| *size == guest)
            .with_context(|| format!("process {monitor} has no mapping of {guest} bytes"))?;
        let kib = |of: &[(u64, u64)]| of.iter().map(|(_, kib)| kib).sum::<u64>();
        let beyond = kib(&mappings) - inside + kib(&self::mappings(*keeper)?);
        Ok(Self { guest: *inside as f64 / 1024.0, beyond: beyond as f64 / 1024.0 })
    }
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
        assert!(Memory::of(&[i64::from(std::process::id()); 2]).is_err());
    }
}
