//! All settings that a client can be given, within their bounds and outside.

use std::path::PathBuf;

use proptest::prelude::*;
use provider_microvm::vmm::firecracker::{
    Balloon, BootSource, CacheType, DeviceId, Drive, DrivePatch, Entropy, HugePages, IoEngine, LogLevel,
    Logger, MachineConfig, MemoryBackend, Metrics, NetworkInterface, NetworkOverride, NetworkPatch,
    RateLimiter, Serial, SnapshotFiles, SnapshotLoad, SnapshotType, TokenBucket, Vsock,
};
use provider_microvm::vmm::{InterfaceName, MacAddress};

/// Everything that one client says.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) process: (Logger, Metrics, Serial),
    pub(crate) machine: MachineConfig,
    pub(crate) boot: BootSource,
    pub(crate) drives: Vec<Drive>,
    pub(crate) nics: Vec<NetworkInterface>,
    pub(crate) vsock: Vsock,
    pub(crate) entropy: Entropy,
    pub(crate) balloon: Balloon,
    pub(crate) drive_patches: Vec<DrivePatch>,
    pub(crate) nic_patches: Vec<NetworkPatch>,
    pub(crate) amount_and_interval: (u32, u16),
    pub(crate) files: SnapshotFiles,
    pub(crate) load: SnapshotLoad,
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let devices = (drives(), nics(), vsock(), entropy(), balloon());
    let changes = (
        prop::collection::vec(drive_patch(), 1..4),
        prop::collection::vec(nic_patch(), 1..4),
        any::<(u32, u16)>(),
    );
    let snapshots = (files(), load());
    ((logger(), metrics(), serial()), machine(), boot(), devices, changes, snapshots).prop_map(
        |(process, machine, boot, devices, changes, (files, load))| {
            let (drives, nics, vsock, entropy, balloon) = devices;
            let (drive_patches, nic_patches, amount_and_interval) = changes;
            Plan {
                process,
                machine,
                boot,
                drives,
                nics,
                vsock,
                entropy,
                balloon,
                drive_patches,
                nic_patches,
                amount_and_interval,
                files,
                load,
            }
        },
    )
}

/// Any text, with what JSON has to write in another way.
fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn path() -> impl Strategy<Value = PathBuf> {
    text().prop_map(PathBuf::from)
}

fn id() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9_]{1,64}".prop_map(|text| DeviceId::new(&text).unwrap())
}

fn tap() -> impl Strategy<Value = InterfaceName> {
    "[!-+\\-.0-9;-~]{2,15}".prop_filter_map("no name", |text| InterfaceName::new(&text).ok())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..1_u64 << 40, 1 => Just(i64::MAX.unsigned_abs()), 1 => any::<u64>()]
}

fn bucket() -> impl Strategy<Value = TokenBucket> {
    let any = (number(), prop::option::of(number()), number());
    let any =
        any.prop_map(|(size, one_time_burst, refill_time)| TokenBucket { size, one_time_burst, refill_time });
    prop_oneof![8 => any, 1 => Just(TokenBucket::OFF), 1 => number().prop_map(TokenBucket::per_second)]
}

fn limiter() -> impl Strategy<Value = Option<RateLimiter>> {
    let both = (prop::option::of(bucket()), prop::option::of(bucket()));
    prop::option::of(both.prop_map(|(bandwidth, ops)| RateLimiter { bandwidth, ops }))
}

fn machine() -> impl Strategy<Value = MachineConfig> {
    let huge_pages = prop_oneof![Just(HugePages::None), Just(HugePages::TwoMib)];
    let vcpus = prop_oneof![9 => 1..=32_u8, 1 => any::<u8>()];
    let memory = prop_oneof![8 => (1..1_u32 << 20).prop_map(|half| half * 2), 2 => any::<u32>()];
    (vcpus, memory, prop::bool::weighted(0.2), any::<bool>(), huge_pages).prop_map(
        |(vcpu_count, mem_size_mib, smt, track_dirty_pages, huge_pages)| MachineConfig {
            vcpu_count,
            mem_size_mib,
            smt,
            track_dirty_pages,
            huge_pages,
        },
    )
}

fn boot() -> impl Strategy<Value = BootSource> {
    let args = prop_oneof![9 => "[ -~]{0,100}", 1 => text()];
    (path(), prop::option::of(path()), args).prop_map(|(kernel_image_path, initrd_path, boot_args)| {
        BootSource { kernel_image_path, initrd_path, boot_args }
    })
}

fn drives() -> impl Strategy<Value = Vec<Drive>> {
    let cache = prop_oneof![Just(CacheType::Unsafe), Just(CacheType::Writeback)];
    let engine = prop_oneof![Just(IoEngine::Sync), Just(IoEngine::Async)];
    let drive = (id(), path(), any::<(bool, bool)>(), cache, engine, limiter()).prop_map(
        |(drive_id, path_on_host, (is_read_only, is_root_device), cache_type, io_engine, rate_limiter)| {
            Drive {
                drive_id,
                path_on_host,
                is_read_only,
                is_root_device,
                cache_type,
                io_engine,
                rate_limiter,
            }
        },
    );
    prop::collection::vec(drive, 1..6)
}

fn drive_patch() -> impl Strategy<Value = DrivePatch> {
    (id(), prop::option::of(path()), limiter()).prop_map(|(drive_id, path_on_host, rate_limiter)| {
        DrivePatch { drive_id, path_on_host, rate_limiter }
    })
}

fn nics() -> impl Strategy<Value = Vec<NetworkInterface>> {
    let mtu = prop::option::of(prop_oneof![9 => 68..=u16::MAX, 1 => any::<u16>()]);
    let nic = (id(), tap(), any::<[u8; 6]>(), mtu, limiter(), limiter()).prop_map(
        |(iface_id, host_dev_name, mac, mtu, rx_rate_limiter, tx_rate_limiter)| NetworkInterface {
            iface_id,
            host_dev_name,
            guest_mac: MacAddress(mac),
            mtu,
            rx_rate_limiter,
            tx_rate_limiter,
        },
    );
    prop::collection::vec(nic, 1..3)
}

fn nic_patch() -> impl Strategy<Value = NetworkPatch> {
    (id(), limiter(), limiter()).prop_map(|(iface_id, rx_rate_limiter, tx_rate_limiter)| NetworkPatch {
        iface_id,
        rx_rate_limiter,
        tx_rate_limiter,
    })
}

fn vsock() -> impl Strategy<Value = Vsock> {
    (prop_oneof![9 => 3..u32::MAX, 1 => 0..4_u32], path())
        .prop_map(|(guest_cid, uds_path)| Vsock { guest_cid, uds_path })
}

fn entropy() -> impl Strategy<Value = Entropy> {
    limiter().prop_map(|rate_limiter| Entropy { rate_limiter })
}

fn balloon() -> impl Strategy<Value = Balloon> {
    any::<(u32, bool, u16, bool)>().prop_map(
        |(amount_mib, deflate_on_oom, stats_polling_interval_s, reporting)| Balloon {
            amount_mib,
            deflate_on_oom,
            stats_polling_interval_s,
            free_page_reporting: reporting,
        },
    )
}

fn serial() -> impl Strategy<Value = Serial> {
    (path(), prop::option::of(bucket()))
        .prop_map(|(serial_out_path, rate_limiter)| Serial { serial_out_path, rate_limiter })
}

fn logger() -> impl Strategy<Value = Logger> {
    let level = prop::sample::select(vec![
        LogLevel::Off,
        LogLevel::Error,
        LogLevel::Warning,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ]);
    (path(), level, any::<(bool, bool)>(), prop::option::of(text())).prop_map(
        |(log_path, level, (show_level, show_log_origin), module)| Logger {
            log_path,
            level,
            show_level,
            show_log_origin,
            module,
        },
    )
}

fn metrics() -> impl Strategy<Value = Metrics> {
    path().prop_map(|metrics_path| Metrics { metrics_path })
}

fn files() -> impl Strategy<Value = SnapshotFiles> {
    let kind = prop_oneof![Just(SnapshotType::Full), Just(SnapshotType::Diff)];
    (path(), path(), kind).prop_map(|(snapshot_path, mem_file_path, snapshot_type)| SnapshotFiles {
        snapshot_path,
        mem_file_path,
        snapshot_type,
    })
}

fn load() -> impl Strategy<Value = SnapshotLoad> {
    let backend = prop_oneof![path().prop_map(MemoryBackend::File), path().prop_map(MemoryBackend::Uffd)];
    let other_tap =
        (id(), tap()).prop_map(|(iface_id, host_dev_name)| NetworkOverride { iface_id, host_dev_name });
    let overrides = (prop::collection::vec(other_tap, 0..3), prop::option::of(path()));
    (path(), backend, overrides, any::<(bool, bool)>()).prop_map(
        |(
            snapshot_path,
            mem_backend,
            (network_overrides, vsock_override),
            (track_dirty_pages, clock_realtime),
        )| {
            SnapshotLoad {
                snapshot_path,
                mem_backend,
                track_dirty_pages,
                network_overrides,
                vsock_override,
                clock_realtime,
            }
        },
    )
}
