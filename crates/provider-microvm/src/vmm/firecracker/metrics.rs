//! What Firecracker counts, and what a guest tells of its memory.
//!
//! ```text
//!   Firecracker ── a line of JSON at the start, each minute, and at the end ──► vmm/metrics.pipe ──► Reading ──► Measured, of one VM
//!                                                                                                                  │
//!   GET /balloon/statistics after each line ───────────────────────────────────────────────────────────────────────┤
//!                                                                                           measurements() ◄── sum ┘
//! ```
//!
//! A named pipe and no file: a file grows as long as the VM lives, and a file that is cut off behind its writer's back has a hole. The kernel keeps
//! 64 KiB of a pipe while nobody reads. Firecracker opens it for reading and writing and never waits for it (`open_file_nonblock` in
//! src/vmm/src/utils/mod.rs); what finds no room is lost, and counted by it. So a service that is away for some minutes misses nothing, and one that
//! is away for longer misses some counts. It tells what happened since its last line, so lines are added up.
//!
//! The process at the other end belongs to a guest that may have taken it over: what is read is bounded in size and time, what is not understood is
//! left out, and no word of it is told further.

use std::sync::{Arc, Mutex, PoisonError};

use seats::{Measurement, MeasurementKind};

use super::BalloonStats;
use counted::{COUNTED, Counts};

mod counted;
mod pipe;

pub(in crate::vmm) use pipe::Reading;
pub(super) use pipe::create;

/// What is known of one VM.
#[derive(Debug, Default)]
struct Measured {
    counts: Counts,
    /// What its guest last told; nothing when it has no driver for that, or not told yet.
    memory: Option<BalloonStats>,
    /// Whether nothing more comes: it has ended.
    ended: bool,
}

/// What is known of all VMs of Firecracker that this process has watched.
struct All {
    /// Those that are not watched any more.
    ended: Counts,
    watched: Vec<Arc<Mutex<Measured>>>,
}

/// One process has one service, as it has one allocator.
static ALL: Mutex<All> = Mutex::new(All { ended: Counts::NONE, watched: Vec::new() });

/// One of the numbers that a guest tells.
type Told = fn(&BalloonStats) -> Option<u64>;

/// What guests tell of their memory, in bytes.
const MEMORY: [(&[(&str, &str)], Told); 4] = [
    (&[("kind", "total")], |told| told.total_memory),
    (&[("kind", "available")], |told| told.available_memory),
    (&[("kind", "free")], |told| told.free_memory),
    (&[("kind", "cached")], |told| told.disk_caches),
];

/// What all VMs of Firecracker have done together since this process watches them, and what their guests last told of their memory.
pub(crate) fn measurements() -> Vec<Measurement> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts = all.ended.clone();
    let mut told = Vec::new();
    let mut watched = 0;
    for one in &all.watched {
        let one = one.lock().unwrap_or_else(PoisonError::into_inner);
        counts.add(&one.counts);
        told.extend(one.memory.clone());
        watched += usize::from(!one.ended);
    }
    measured(&counts, watched, &told)
}

fn measured(counts: &Counts, watched: usize, told: &[BalloonStats]) -> Vec<Measurement> {
    let gauge =
        |name, help, labels, value| Measurement { name, help, kind: MeasurementKind::Gauge, labels, value };
    let mut measurements: Vec<_> = COUNTED
        .iter()
        .zip(counts.values())
        .map(|(counted, value)| Measurement {
            name: counted.name,
            help: counted.help,
            kind: MeasurementKind::Counter,
            labels: counted.labels,
            value,
        })
        .collect();
    let watched = u64::try_from(watched).unwrap_or(u64::MAX);
    measurements.push(gauge(
        "microvm_monitors_measured",
        "Firecracker processes whose metrics are read",
        &[],
        watched,
    ));
    let reporting = told.iter().filter(|told| told.total_memory.is_some()).count();
    let reporting = u64::try_from(reporting).unwrap_or(u64::MAX);
    measurements.push(gauge("microvm_guests_reporting", "Guests that tell of their memory", &[], reporting));
    measurements.extend(MEMORY.iter().map(|(labels, value)| {
        let sum = told.iter().filter_map(value).fold(0, u64::saturating_add);
        gauge("microvm_guest_memory_bytes", "What guests tell of their memory, together", labels, sum)
    }));
    measurements
}

#[cfg(test)]
mod tests;
