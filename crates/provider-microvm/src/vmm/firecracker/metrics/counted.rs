//! Which of Firecracker's counters are told, as what.

use serde_json::Value;

/// A sum of Firecracker's counters (docs/metrics.md), each by object and member.
pub(super) struct Counted {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [(&'static str, &'static str)],
    of: &'static [(&'static str, &'static str)],
}

macro_rules! counted {
    ($($name:literal, $help:literal { $($key:literal = $word:literal: $($object:literal . $member:literal)+;)+ })+) => {
        pub(super) const COUNTED: &[Counted] = &[$($(
            Counted { name: $name, help: $help, labels: &[($key, $word)], of: &[$(($object, $member)),+] },
        )+)+];
    };
}

// `block` and `net` are all devices of a VM together; each has an object of its own besides. `tx_spoofed_mac_count` is no error: a guest that goes on from a
// snapshot has another address than the device that was saved, and what comes from an address that is not the seat's, the host drops.
counted! {
    "microvm_disk_bytes", "Bytes of guests' disks" {
        "direction" = "read": "block"."read_bytes";
        "direction" = "written": "block"."write_bytes";
    }
    "microvm_disk_operations", "Operations on guests' disks" {
        "direction" = "read": "block"."read_count";
        "direction" = "written": "block"."write_count";
    }
    "microvm_network_bytes", "Bytes that guests received and sent" {
        "direction" = "received": "net"."rx_bytes_count";
        "direction" = "sent": "net"."tx_bytes_count";
    }
    "microvm_network_packets", "Packets that guests received and sent" {
        "direction" = "received": "net"."rx_packets_count";
        "direction" = "sent": "net"."tx_packets_count";
    }
    "microvm_throttled", "How often a disk waited because a limit was reached" {
        "device" = "disk": "block"."rate_limiter_throttled_events";
    }
    "microvm_device_errors", "What devices of guests could not do" {
        "device" = "disk": "block"."activate_fails" "block"."cfg_fails" "block"."event_fails" "block"."execute_fails"
            "block"."invalid_reqs_count";
        "device" = "network": "net"."activate_fails" "net"."cfg_fails" "net"."event_fails" "net"."rx_fails" "net"."tx_fails"
            "net"."tap_read_fails" "net"."tap_write_fails" "net"."tx_malformed_frames";
        "device" = "vsock": "vsock"."activate_fails" "vsock"."cfg_fails" "vsock"."rx_queue_event_fails" "vsock"."tx_queue_event_fails"
            "vsock"."ev_queue_event_fails" "vsock"."muxer_event_fails" "vsock"."conn_event_fails";
        "device" = "entropy": "entropy"."activate_fails" "entropy"."entropy_event_fails" "entropy"."host_rng_fails";
        "device" = "balloon": "balloon"."activate_fails" "balloon"."event_fails" "balloon"."stats_update_fails"
            "balloon"."free_page_report_fails";
    }
    "microvm_processor_exits", "How often guests' processors left for the monitor" {
        "reason" = "port": "vcpu"."exit_io_in" "vcpu"."exit_io_out";
        "reason" = "memory": "vcpu"."exit_mmio_read" "vcpu"."exit_mmio_write";
        "reason" = "error": "vcpu"."failures";
    }
    "microvm_memory_returned_bytes", "Memory that guests gave back to the host" {
        "way" = "reported": "balloon"."free_page_report_freed";
    }
    "microvm_monitor_losses", "What monitors could not write for want of a reader" {
        "what" = "metrics": "logger"."missed_metrics_count" "logger"."metrics_fails";
        "what" = "log": "logger"."missed_log_count";
    }
}

/// How each line begins.
const BEGIN: &[u8] = b"{\"utc_timestamp_ms\":";

/// How much of each there is, in the order of [`COUNTED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts([u64; COUNTED.len()]);

impl Counts {
    pub(super) const NONE: Self = Self([0; COUNTED.len()]);

    /// What a line says. Members that are not known are left out, those that are not there are 0; nothing when it is no line of Firecracker's.
    ///
    /// What a full pipe had no room for lacks its end, and the next line that it takes follows at once: that one alone is read.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let begin = line.windows(BEGIN.len()).rposition(|part| part == BEGIN)?;
        let line: Value = serde_json::from_slice(line.get(begin..)?).ok()?;
        let of = |(object, member): &(&str, &str)| line.get(object)?.get(member)?.as_u64();
        let mut counts = Self::NONE;
        for (count, counted) in counts.0.iter_mut().zip(COUNTED) {
            *count = counted.of.iter().filter_map(of).fold(0, u64::saturating_add);
        }
        Some(counts)
    }

    /// Adds others. A process that lies may bring a counter to its end, and not beyond.
    pub(super) fn add(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(others.0) {
            *count = count.saturating_add(other);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter()
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::NONE
    }
}
