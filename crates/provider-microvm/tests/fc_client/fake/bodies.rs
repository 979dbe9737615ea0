//! What requests say, as Firecracker reads it: a name that is not known is an error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    pub(super) vcpu_count: u8,
    pub(super) mem_size_mib: u64,
    #[serde(default)]
    pub(super) smt: bool,
    #[serde(default)]
    pub(super) track_dirty_pages: bool,
    #[serde(default)]
    pub(super) huge_pages: HugePages,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum HugePages {
    #[default]
    None,
    #[serde(rename = "2M")]
    TwoMib,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Boot {
    pub(super) kernel_image_path: PathBuf,
    pub(super) initrd_path: Option<PathBuf>,
    #[serde(rename = "boot_args")]
    pub(super) _boot_args: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limiter {
    #[serde(rename = "bandwidth")]
    pub(super) _bandwidth: Option<Bucket>,
    #[serde(rename = "ops")]
    pub(super) _ops: Option<Bucket>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Bucket {
    #[serde(rename = "size")]
    pub(super) _size: u64,
    #[serde(rename = "one_time_burst")]
    pub(super) _one_time_burst: Option<u64>,
    #[serde(rename = "refill_time")]
    pub(super) _refill_time: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Cache {
    Unsafe,
    Writeback,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Engine {
    Sync,
    Async,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drive {
    pub(super) drive_id: String,
    #[serde(rename = "is_root_device")]
    pub(super) _is_root_device: bool,
    #[serde(rename = "partuuid")]
    pub(super) _partuuid: Option<String>,
    #[serde(rename = "cache_type")]
    pub(super) _cache_type: Option<Cache>,
    pub(super) is_read_only: Option<bool>,
    pub(super) path_on_host: Option<PathBuf>,
    #[serde(rename = "rate_limiter")]
    pub(super) _rate_limiter: Option<Limiter>,
    #[serde(rename = "io_engine")]
    pub(super) _io_engine: Option<Engine>,
    #[serde(rename = "socket")]
    pub(super) _socket: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrivePatch {
    pub(super) drive_id: String,
    pub(super) path_on_host: Option<PathBuf>,
    #[serde(rename = "rate_limiter")]
    pub(super) _rate_limiter: Option<Limiter>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nic {
    pub(super) iface_id: String,
    pub(super) host_dev_name: String,
    pub(super) guest_mac: Option<String>,
    #[serde(rename = "mtu")]
    pub(super) _mtu: Option<u16>,
    #[serde(rename = "rx_rate_limiter")]
    pub(super) _rx_rate_limiter: Option<Limiter>,
    #[serde(rename = "tx_rate_limiter")]
    pub(super) _tx_rate_limiter: Option<Limiter>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NicPatch {
    pub(super) iface_id: String,
    #[serde(rename = "rx_rate_limiter")]
    pub(super) _rx_rate_limiter: Option<Limiter>,
    #[serde(rename = "tx_rate_limiter")]
    pub(super) _tx_rate_limiter: Option<Limiter>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vsock {
    #[serde(rename = "vsock_id")]
    pub(super) _vsock_id: Option<String>,
    #[serde(rename = "guest_cid")]
    pub(super) _guest_cid: u32,
    pub(super) uds_path: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entropy {
    #[serde(rename = "rate_limiter")]
    pub(super) _rate_limiter: Option<Limiter>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Balloon {
    pub(super) amount_mib: u32,
    #[serde(rename = "deflate_on_oom")]
    pub(super) _deflate_on_oom: bool,
    #[serde(default)]
    pub(super) stats_polling_interval_s: u16,
    #[serde(default, rename = "free_page_hinting")]
    pub(super) _free_page_hinting: bool,
    #[serde(default, rename = "free_page_reporting")]
    pub(super) _free_page_reporting: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Amount {
    pub(super) amount_mib: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interval {
    pub(super) stats_polling_interval_s: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serial {
    pub(super) serial_out_path: Option<PathBuf>,
    #[serde(rename = "rate_limiter")]
    pub(super) _rate_limiter: Option<Bucket>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logger {
    pub(super) log_path: Option<PathBuf>,
    #[serde(rename = "level")]
    pub(super) _level: Option<Level>,
    #[serde(rename = "show_level")]
    pub(super) _show_level: Option<bool>,
    #[serde(rename = "show_log_origin")]
    pub(super) _show_log_origin: Option<bool>,
    #[serde(rename = "module")]
    pub(super) _module: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Level {
    Off,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// Of all requests the one whose unknown names are not refused.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metrics {
    pub(super) metrics_path: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Actions {
    pub(super) action_type: Action,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Action {
    FlushMetrics,
    InstanceStart,
    SendCtrlAltDel,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vm {
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum State {
    Paused,
    Resumed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[serde(rename = "snapshot_type")]
    pub(super) _snapshot_type: Option<Kind>,
    pub(super) snapshot_path: PathBuf,
    pub(super) mem_file_path: PathBuf,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Kind {
    Full,
    Diff,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) snapshot_path: PathBuf,
    pub(super) mem_backend: Backend,
    #[serde(default, rename = "track_dirty_pages")]
    pub(super) _track_dirty_pages: bool,
    #[serde(default)]
    pub(super) resume_vm: bool,
    #[serde(default)]
    pub(super) network_overrides: Vec<NetworkOverride>,
    pub(super) vsock_override: Option<VsockOverride>,
    #[serde(default, rename = "clock_realtime")]
    pub(super) _clock_realtime: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub(super) backend_path: PathBuf,
    pub(super) backend_type: BackendKind,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum BackendKind {
    File,
    Uffd,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct NetworkOverride {
    pub(super) iface_id: String,
    pub(super) host_dev_name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct VsockOverride {
    pub(super) uds_path: PathBuf,
}
