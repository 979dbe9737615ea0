//! What is asked.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What is asked of one process; `DIR` is the folder of that run.
pub(super) type Script = &'static [(&'static str, &'static str, &'static str)];

const MACHINE: (&str, &str, &str) = ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64}"#);
const BOOT: (&str, &str, &str) =
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/vmlinux", "boot_args": "console=ttyS0"}"#);
const DATA: (&str, &str, &str) = (
    "PUT",
    "/drives/data",
    r#"{"drive_id": "data", "path_on_host": "DIR/data.img", "is_read_only": false, "is_root_device": false}"#,
);
const START: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "InstanceStart"}"#);
const KEYS: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "SendCtrlAltDel"}"#);
const FLUSH: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "FlushMetrics"}"#);
const PAUSE: (&str, &str, &str) = ("PATCH", "/vm", r#"{"state": "Paused"}"#);
const RESUME: (&str, &str, &str) = ("PATCH", "/vm", r#"{"state": "Resumed"}"#);
const CREATE: (&str, &str, &str) =
    ("PUT", "/snapshot/create", r#"{"snapshot_path": "DIR/state", "mem_file_path": "DIR/memory"}"#);
const LOAD: (&str, &str, &str) = (
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"}}"#,
);

/// What has no form, and what is not known.
const FORMS: Script = &[
    ("GET", "/", ""),
    ("GET", "/version", "{}"),
    ("GET", "/nothing", ""),
    ("PUT", "/nothing", "{}"),
    ("PUT", "/actions", ""),
    ("PATCH", "/vm", ""),
    ("PUT", "/machine-config", "{"),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64, "more": 1}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 300, "mem_size_mib": 64}"#),
    ("PUT", "/boot-source", r#"{"kernel": "x"}"#),
    ("PUT", "/drives/data", r#"{"drive_id": "data", "is_root_device": false, "serial": "data"}"#),
    ("PUT", "/drives/a-b", r#"{"drive_id": "a-b", "is_root_device": false}"#),
    (
        "PUT",
        "/drives/other",
        r#"{"drive_id": "data", "is_root_device": false, "is_read_only": true, "path_on_host": "x"}"#,
    ),
    (
        "PUT",
        "/network-interfaces/eth0",
        r#"{"iface_id": "eth1", "host_dev_name": "ctt0", "guest_mac": "02:c7:0a:00:00:01"}"#,
    ),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth1"}"#),
    ("PUT", "/actions", r#"{"action_type": "Explode"}"#),
    ("PATCH", "/vm", r#"{"state": "Running"}"#),
    ("PUT", "/vsock", r#"{"guest_cid": -3, "uds_path": "x"}"#),
    ("PUT", "/entropy", r#"{"rate_limiter": {"bytes": 1}}"#),
    ("PUT", "/logger", r#"{"level": "Loud"}"#),
    ("PUT", "/serial", r#"{"path": "x"}"#),
];

/// What is refused before the start.
const BEFORE: Script = &[
    PAUSE,
    RESUME,
    KEYS,
    FLUSH,
    CREATE,
    START,
    ("GET", "/balloon/statistics", ""),
    ("PATCH", "/balloon", r#"{"amount_mib": 1}"#),
    ("PATCH", "/drives/data", r#"{"drive_id": "data", "path_on_host": "DIR/data.img"}"#),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth0"}"#),
    ("PUT", "/logger", r#"{"log_path": "DIR/no/such/folder"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/no/such/folder"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/metrics"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/metrics"}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 0, "mem_size_mib": 64}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 33, "mem_size_mib": 64}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 3, "mem_size_mib": 64, "smt": true}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 0}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 63, "huge_pages": "2M"}"#),
    MACHINE,
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/nothing"}"#),
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/vmlinux", "initrd_path": "DIR/nothing"}"#),
    (
        "PUT",
        "/drives/data",
        r#"{"drive_id": "data", "path_on_host": "DIR/nothing", "is_read_only": true, "is_root_device": false}"#,
    ),
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/data.img"}"#),
    ("PUT", "/balloon", r#"{"amount_mib": 65, "deflate_on_oom": true}"#),
    LOAD,
];

/// What is refused after the start, and what is not.
const AFTER: Script = &[
    MACHINE,
    BOOT,
    DATA,
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/vsock.sock"}"#),
    ("PUT", "/balloon", r#"{"amount_mib": 0, "deflate_on_oom": true}"#),
    START,
    START,
    MACHINE,
    BOOT,
    DATA,
    ("PUT", "/entropy", "{}"),
    ("PUT", "/serial", r#"{"serial_out_path": "DIR/serial"}"#),
    ("PUT", "/logger", r#"{"log_path": "DIR/log"}"#),
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/other.sock"}"#),
    LOAD,
    CREATE,
    FLUSH,
    ("PATCH", "/drives/data", r#"{"drive_id": "data", "path_on_host": "DIR/nothing"}"#),
    ("PATCH", "/drives/other", r#"{"drive_id": "other", "path_on_host": "DIR/data.img"}"#),
    (
        "PATCH",
        "/drives/data",
        r#"{"drive_id": "data", "rate_limiter": {"ops": {"size": 1, "refill_time": 1}}}"#,
    ),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth0"}"#),
    ("PATCH", "/balloon", r#"{"amount_mib": 1}"#),
    ("PATCH", "/balloon/statistics", r#"{"stats_polling_interval_s": 1}"#),
    ("GET", "/balloon/statistics", ""),
    RESUME,
    PAUSE,
    PAUSE,
    ("GET", "/", ""),
    CREATE,
    ("PUT", "/snapshot/create", r#"{"snapshot_path": "DIR/no/such", "mem_file_path": "DIR/memory"}"#),
    RESUME,
    KEYS,
];

/// What cannot be started.
const NO_KERNEL: Script =
    &[MACHINE, ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/initramfs"}"#), START, ("GET", "/", "")];

const NO_STATE: Script = &[LOAD];
const NO_SUCH_NIC: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"},
        "network_overrides": [{"iface_id": "eth0", "host_dev_name": "ctt0"}]}"#,
)];
const NO_MEMORY: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/nothing"}}"#,
)];
const SHORT_MEMORY: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/data.img"}}"#,
)];
const VSOCK_IN_USE: Script = &[LOAD];
const SPOILT: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/spoilt", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"}}"#,
)];
const NO_IMAGE: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"},
        "vsock_override": {"uds_path": "DIR/again.sock"}}"#,
)];
const RESTORED: Script = &[
    (
        "PUT",
        "/snapshot/load",
        r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"},
            "vsock_override": {"uds_path": "DIR/restored.sock"}, "clock_realtime": true}"#,
    ),
    ("GET", "/", ""),
    START,
    LOAD,
    RESUME,
    KEYS,
];

/// Scripts with the processes that they are for, one after the other in one folder: what one has written, the next ones find.
pub(super) const CASES: [Case; 13] = [
    Case { name: "forms", script: FORMS, ends: false, before: nothing },
    Case { name: "before", script: BEFORE, ends: false, before: nothing },
    Case { name: "no kernel", script: NO_KERNEL, ends: false, before: nothing },
    Case { name: "no state", script: NO_STATE, ends: true, before: nothing },
    Case { name: "after", script: AFTER, ends: true, before: nothing },
    Case { name: "no such nic", script: NO_SUCH_NIC, ends: true, before: nothing },
    Case { name: "no memory", script: NO_MEMORY, ends: true, before: nothing },
    Case { name: "short memory", script: SHORT_MEMORY, ends: true, before: nothing },
    Case { name: "vsock in use", script: VSOCK_IN_USE, ends: true, before: nothing },
    Case { name: "half a state", script: SPOILT, ends: true, before: half_a_state },
    Case { name: "another version", script: SPOILT, ends: true, before: another_version },
    Case { name: "restored", script: RESTORED, ends: true, before: nothing },
    Case { name: "no image", script: NO_IMAGE, ends: true, before: no_image },
];

/// One process.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) script: Script,
    /// Whether it is to end by itself after the script.
    pub(super) ends: bool,
    /// What is done to the folder before it is started.
    pub(super) before: fn(&Path) -> Result<()>,
}

fn nothing(_: &Path) -> Result<()> {
    Ok(())
}

fn half_a_state(at: &Path) -> Result<()> {
    let state = fs::read(at.join("state"))?;
    Ok(fs::write(at.join("spoilt"), &state[..state.len() / 2])?)
}

/// Those of 1.16 and 1.17 (`firecracker --snapshot-version`).
const FORMATS: [&[u8; 6]; 2] = [b"10.0.0", b"11.0.0"];

/// The version is there as text, in whatever else is around it; and it is looked at before the check sum is.
fn another_version(at: &Path) -> Result<()> {
    const OTHER: &[u8; 6] = b"99.0.0";
    let mut state = fs::read(at.join("state"))?;
    let found = state.windows(OTHER.len()).position(|part| FORMATS.iter().any(|format| *format == part));
    let begin = found.context("the state is of no format that is known: name that of this release")?;
    state[begin..begin + OTHER.len()].copy_from_slice(OTHER);
    Ok(fs::write(at.join("spoilt"), state)?)
}

fn no_image(at: &Path) -> Result<()> {
    Ok(fs::remove_file(at.join("data.img"))?)
}

/// Where the words of a fault are those of Firecracker's libraries: so far they are compared.
pub(super) const IN_PART: [&str; 3] = [
    "Start microvm error: System configuration error: Cannot load kernel due to invalid memory configuration or invalid kernel image",
    "Load snapshot error: Failed to restore from snapshot: Failed to build microVM from snapshot",
    "An error occurred when deserializing the json body of a request",
];

const NIC: (&str, &str, &str) = (
    "PUT",
    "/network-interfaces/eth0",
    r#"{"iface_id": "eth0", "host_dev_name": "ctt0", "guest_mac": "02:c7:0a:00:00:01"}"#,
);
const NO_TAP: (&str, &str, &str) = (
    "PUT",
    "/network-interfaces/eth9",
    r#"{"iface_id": "eth9", "host_dev_name": "ctt9", "guest_mac": "02:c7:0a:00:00:09"}"#,
);
/// Interfaces, where there are the devices `ctt0` and `ctt1`, and no others may be made.
pub(super) const NETWORK: Script = &[
    NO_TAP,
    NIC,
    NIC,
    (
        "PUT",
        "/network-interfaces/eth1",
        r#"{"iface_id": "eth1", "host_dev_name": "ctt1", "guest_mac": "02:c7:0a:00:00:01"}"#,
    ),
    (
        "PUT",
        "/network-interfaces/eth1",
        r#"{"iface_id": "eth1", "host_dev_name": "ctt0", "guest_mac": "02:c7:0a:00:00:02"}"#,
    ),
    (
        "PUT",
        "/network-interfaces/eth1",
        r#"{"iface_id": "eth1", "host_dev_name": "ctt1", "guest_mac": "02:c7:0a:00:00:02"}"#,
    ),
    ("PUT", "/network-interfaces/eth0", r#"{"iface_id": "eth0", "host_dev_name": "ctt9"}"#),
    ("PUT", "/network-interfaces/eth1", r#"{"iface_id": "eth1", "host_dev_name": "ctt0"}"#),
    ("GET", "/", ""),
];
/// Interfaces of a machine that runs, where what is not there can be made.
pub(super) const NETWORK_OF_ROOT: Script = &[
    MACHINE,
    BOOT,
    NO_TAP,
    NIC,
    START,
    (
        "PATCH",
        "/network-interfaces/eth0",
        r#"{"iface_id": "eth0", "rx_rate_limiter": {"bandwidth": {"size": 1000, "refill_time": 100}}}"#,
    ),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth0"}"#),
    ("PATCH", "/network-interfaces/eth7", r#"{"iface_id": "eth7"}"#),
];
