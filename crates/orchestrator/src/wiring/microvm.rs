//! Seats as microVMs.

use std::sync::Arc;

use hostnet::{Bandwidth, BitRate, EgressPolicy, Otherwise};
use provider_docker::DockerHost;
use provider_microvm::vmm::{Accelerator, Jailer, KeeperCommand, MonitorKind, Throttle};
use provider_microvm::{CniConfig, EngineConnect, ImageConfig, MicrovmConfig, SnapshotUse};

use crate::config::{
    AcceleratorChoice, Config, EgressChoice, MonitorChoice, NetworkChoice, Problem, Settings, SnapshotChoice,
};

/// How long a small call to the engine may take.
const CALL: std::time::Duration = std::time::Duration::from_secs(60);
/// The hidden subcommand that keeps a VM.
const KEEPER: &str = "vmm-keeper";

/// The settings of microVMs, checked as a whole.
pub(super) fn config(config: &Config) -> Result<MicrovmConfig, Problem> {
    let settings = &config.settings;
    let keeper = KeeperCommand::this_program([KEEPER])
        .map_err(|why| Problem::of_all(format!("cannot find out where this program is: {why}")))?;
    let per_second = settings.microvm_disk_mib_per_second.map(|mib| u64::from(mib.0) << 20);
    let operations = settings.microvm_disk_operations_per_second.map(|number| u64::from(number.0));
    let throttle = per_second.or(operations).map(|_| Throttle {
        bytes_per_second: per_second.unwrap_or(0),
        operations_per_second: operations.unwrap_or(0),
    });
    let rate = |mbit: Option<u32>| {
        let rate = mbit.map(BitRate::from_mbit).transpose();
        rate.map_err(|error| Problem::of_all(error.to_string()))
    };
    let bandwidth = Bandwidth {
        to_seat: rate(settings.microvm_network_receive_mbit_per_second.map(|mbit| mbit.0))?,
        from_seat: rate(settings.microvm_network_send_mbit_per_second.map(|mbit| mbit.0))?,
    };
    let microvm = MicrovmConfig {
        images: ImageConfig {
            archives: settings.microvm_image_archives.clone(),
            registry: settings.microvm_registry,
            insecure_registries: settings.microvm_insecure_registries.clone(),
            memory: u64::from(settings.microvm_image_memory_mib.0) << 20,
        },
        pool: settings.microvm_pool,
        subnet_prefix: settings.microvm_subnet_prefix.and_then(|prefix| u8::try_from(prefix.0).ok()),
        seat_bound: settings.seats_max,
        cni: cni(settings)?,
        egress: EgressPolicy {
            otherwise: match settings.microvm_egress {
                EgressChoice::Allow => Otherwise::Allow,
                EgressChoice::Deny => Otherwise::Deny,
            },
            allow: settings.microvm_egress_allow.clone(),
            deny: settings.microvm_egress_deny.clone(),
        },
        nameservers: settings.microvm_nameservers.clone(),
        scratch_mib: settings.microvm_scratch_mib.0,
        data_mib: settings.microvm_data_mib.0,
        disk_throttle: throttle,
        bandwidth,
        least_memory_mib: settings.microvm_least_memory_mib.0,
        overhead_mib: settings.microvm_overhead_mib.map(|overhead| overhead.0),
        memory_percent: settings.microvm_memory_percent.0,
        least_free_mib: settings.microvm_least_free_mib.0,
        first_uid: Some(settings.microvm_first_uid.0),
        cgroup: Some(settings.microvm_cgroup.clone()),
        monitor: match settings.microvm_monitor {
            MonitorChoice::Qemu => MonitorKind::Qemu,
            MonitorChoice::Firecracker => MonitorKind::Firecracker,
        },
        qemu: settings.microvm_qemu.clone(),
        firecracker: settings.microvm_firecracker.clone(),
        jailer: settings.microvm_jailer.0.clone().map_or(Jailer::Off, Jailer::Program),
        accelerator: match settings.microvm_accelerator {
            AcceleratorChoice::Auto => Accelerator::Auto,
            AcceleratorChoice::Kvm => Accelerator::Kvm,
            AcceleratorChoice::Tcg => Accelerator::Tcg,
        },
        snapshot: match settings.microvm_snapshot {
            SnapshotChoice::Auto => SnapshotUse::Auto,
            SnapshotChoice::Off => SnapshotUse::Off,
        },
        auth_disabled: settings.seats_auth_disabled,
        jwks_url: settings.seats_jwks_url.clone(),
        capabilities: settings.seats_capabilities.clone(),
        console_max_mib: settings.microvm_console_max_mib.0,
        console_files: settings.microvm_console_files.0,
        stop_grace: settings.seats_stop_grace.0,
        start_timeout: settings.seats_start_timeout.0,
        ..MicrovmConfig::new(settings.state_dir.clone(), keeper)
    };
    microvm.check().map_err(|error| Problem::of_all(error.to_string()))?;
    Ok(microvm)
}

/// The operator's network, where seats are to be on one.
fn cni(settings: &Settings) -> Result<Option<CniConfig>, Problem> {
    let name = match (settings.microvm_network, &settings.microvm_cni_network) {
        (NetworkChoice::Bridge, _) => return Ok(None),
        (NetworkChoice::Cni, Some(name)) => name,
        (NetworkChoice::Cni, None) => {
            let why = "microvm.network is cni, and microvm.cni_network does not say which: set it to the name in a .conflist of \
                       microvm.cni_config_dir";
            return Err(Problem::of_all(why));
        }
    };
    let network = name.parse().map_err(|why| Problem::of_all(format!("microvm.cni_network: {why}")))?;
    Ok(Some(CniConfig {
        network,
        config_dir: settings.microvm_cni_config_dir.clone(),
        bin_dirs: settings.microvm_cni_bin_dirs.clone(),
        timeout: settings.microvm_cni_timeout.0,
        namespaces: None,
    }))
}

/// How images of the Docker engine are reached, should there be one.
pub(crate) fn engine(text: &str) -> Option<EngineConnect> {
    let host: DockerHost = text.parse().ok()?;
    Some(Arc::new(move || {
        let host = host.clone();
        Box::pin(async move { provider_docker::connect(&host, CALL).await.map_err(|why| why.to_string()) })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, SettingFlags, Surroundings};

    fn limits(flags: &[(&'static str, &str)]) -> Result<MicrovmConfig, String> {
        // An empty file, so that none is looked for in the folders of whoever runs this.
        let file = tempfile::NamedTempFile::new().unwrap();
        let flags = flags.iter().map(|(key, text)| (*key, key.replace(['.', '_'], "-"), (*text).to_owned()));
        let surroundings = Surroundings { variables: Vec::new() };
        let loaded = Config::load(Some(file.path()), &SettingFlags(flags.collect()), &surroundings);
        let told =
            |error: ConfigError| error.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        config(&loaded.map_err(told)?).map_err(|problem| problem.to_string())
    }

    #[test]
    fn limits_of_disks_and_networks_are_off_until_they_are_set() {
        let none = limits(&[]).unwrap();
        assert_eq!((none.disk_throttle, none.bandwidth), (None, Bandwidth::default()));
        let some = limits(&[
            ("microvm.disk_mib_per_second", "20"),
            ("microvm.network_receive_mbit_per_second", "50"),
            ("microvm.network_send_mbit_per_second", "off"),
        ]);
        let some = some.unwrap();
        let throttle = Throttle { bytes_per_second: 20 << 20, operations_per_second: 0 };
        assert_eq!(some.disk_throttle, Some(throttle));
        let rate = |mbit| BitRate::from_mbit(mbit).ok();
        assert_eq!(some.bandwidth, Bandwidth { to_seat: rate(50), from_seat: None });
        let other = limits(&[
            ("microvm.disk_operations_per_second", "300"),
            ("microvm.network_send_mbit_per_second", "100000"),
        ]);
        let other = other.unwrap();
        let throttle = Throttle { bytes_per_second: 0, operations_per_second: 300 };
        assert_eq!(other.disk_throttle, Some(throttle));
        assert_eq!(other.bandwidth, Bandwidth { to_seat: None, from_seat: rate(100_000) });
    }

    #[test]
    fn limits_that_cannot_be_are_refused_with_their_setting() {
        for key in ["microvm.network_receive_mbit_per_second", "microvm.network_send_mbit_per_second"] {
            for text in ["0", "100001", "-1", "1.5", "10mbit"] {
                let why = limits(&[(key, text)]).unwrap_err();
                assert!(why.contains(&key.replace(['.', '_'], "-")), "{why}");
                assert!(why.contains("from 1 to 100000"), "{why}");
            }
        }
    }
}
