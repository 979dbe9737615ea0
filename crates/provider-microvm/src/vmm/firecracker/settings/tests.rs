//! What is checked before anything is sent, and how it looks then. That all of it fits the API's description is a test of its own.

use serde_json::{Value, json};

use super::*;
use crate::vmm::Throttle;

fn said(what: &impl Check) -> String {
    what.check().unwrap_err().to_string()
}

fn json(what: &impl Check) -> Value {
    what.check().unwrap();
    serde_json::to_value(what).unwrap()
}

fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

#[test]
fn names_of_devices_fit_a_path() {
    for name in ["", "a/b", "a-b", "ä", "a b", "..", &"a".repeat(65)] {
        assert!(DeviceId::new(name).is_err(), "{name}");
    }
    assert_eq!(id("disk_0").as_str(), "disk_0");
}

#[test]
fn machines_are_bounded() {
    let machine = MachineConfig {
        vcpu_count: 2,
        mem_size_mib: 512,
        smt: true,
        track_dirty_pages: false,
        huge_pages: HugePages::TwoMib,
    };
    let expected = json!({"vcpu_count": 2, "mem_size_mib": 512, "smt": true, "track_dirty_pages": false, "huge_pages": "2M"});
    assert_eq!(json(&machine), expected);
    let with = |vcpu_count, mem_size_mib| MachineConfig { vcpu_count, mem_size_mib, ..machine.clone() };
    assert_eq!(said(&with(0, 512)), "1 to 32 virtual processors are possible");
    assert_eq!(said(&with(33, 512)), "1 to 32 virtual processors are possible");
    assert_eq!(said(&with(3, 512)), "with smt there is one virtual processor or an even number of them");
    assert_eq!(said(&with(1, 0)), "a guest needs memory");
    assert_eq!(said(&with(1, 511)), "with pages of 2 MiB the memory is an even number of MiB");
}

#[test]
fn limits_are_buckets_of_one_second_and_zero_is_none() {
    let throttle = Throttle { bytes_per_second: 1000, operations_per_second: 0 };
    let limiter = RateLimiter::from(throttle);
    let expected =
        json!({"bandwidth": {"size": 1000, "refill_time": 1000}, "ops": {"size": 0, "refill_time": 0}});
    assert_eq!(json(&limiter), expected);
    let bucket = TokenBucket { size: 1 << 63, one_time_burst: None, refill_time: 1 };
    let large = "a rate limiter's numbers are at most 9223372036854775807";
    assert_eq!(said(&RateLimiter { bandwidth: None, ops: Some(bucket) }), large);
    let entropy = Entropy { rate_limiter: Some(RateLimiter { bandwidth: Some(bucket), ops: None }) };
    assert_eq!(said(&entropy), large);
}

#[test]
fn a_change_changes_something() {
    let nothing = DrivePatch { drive_id: id("root"), path_on_host: None, rate_limiter: None };
    assert_eq!(said(&nothing), "a change of a drive changes nothing");
    let grown = DrivePatch { path_on_host: Some("/data.img".into()), ..nothing };
    assert_eq!(json(&grown), json!({"drive_id": "root", "path_on_host": "/data.img"}));
}

#[test]
fn other_bounds_are_told() {
    let vsock = |guest_cid| Vsock { guest_cid, uds_path: "/v.sock".into() };
    assert_eq!(said(&vsock(2)), "the number of a vsock device is 3 to 4294967294");
    assert_eq!(said(&vsock(u32::MAX)), "the number of a vsock device is 3 to 4294967294");
    assert_eq!(json(&vsock(3)), json!({"guest_cid": 3, "uds_path": "/v.sock"}));
    let boot = BootSource { kernel_image_path: "/k".into(), initrd_path: None, boot_args: "quiet\n".into() };
    assert_eq!(said(&boot), "the kernel's command line holds a control character");
    let nic = NetworkInterface {
        iface_id: id("eth0"),
        host_dev_name: InterfaceName::new("ctt0").unwrap(),
        guest_mac: MacAddress([2, 0xc7, 10, 0, 0, 5]),
        mtu: Some(67),
        rx_rate_limiter: None,
        tx_rate_limiter: None,
    };
    assert_eq!(said(&nic), "a network interface's packets have at least 68 bytes");
    let nic = NetworkInterface { mtu: None, ..nic };
    let expected = json!({"iface_id": "eth0", "host_dev_name": "ctt0", "guest_mac": "02:c7:0a:00:00:05"});
    assert_eq!(json(&nic), expected);
}

#[test]
fn a_load_says_what_is_other_than_it_was() {
    let how = SnapshotLoad {
        snapshot_path: "/s".into(),
        mem_backend: MemoryBackend::File("/m".into()),
        track_dirty_pages: false,
        network_overrides: vec![NetworkOverride {
            iface_id: id("eth0"),
            host_dev_name: InterfaceName::new("ctt1").unwrap(),
        }],
        vsock_override: Some("/v".into()),
        clock_realtime: true,
    };
    let expected = json!({
        "snapshot_path": "/s", "mem_backend": {"backend_type": "File", "backend_path": "/m"},
        "track_dirty_pages": false, "network_overrides": [{"iface_id": "eth0", "host_dev_name": "ctt1"}],
        "vsock_override": {"uds_path": "/v"}, "clock_realtime": true, "resume_vm": true,
    });
    assert_eq!(json(&Load { how: &how, resume_vm: true }), expected);
}
