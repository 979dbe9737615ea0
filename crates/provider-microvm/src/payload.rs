//! What a seat's VM and guest are made of: the one place where a [`SeatSpec`] becomes a machine and a configuration, and
//! where an api key is handed to a seat.

use guest_protocol::{EnvVar, GuestConfig, Limits, Network, Resolver, Restart, Run, Workspace};
use seats::workspace::{self, FOLDER};
use seats::{ProviderError, SeatSpec, Stage};

use crate::core::Core;
use crate::edges::Place;
use crate::images::Ready;
use crate::records::SeatRecord;
use crate::vmm::{
    CgroupSpec, Drive, InterfaceName, LogFile, MacAddress, Nic, Serial, SpecError, UserIds, VmSpec, VmmError,
};
use crate::{fail, names, random};

/// Threads of a monitor beside those of the guest's processors: its own few, and those that read and write disks.
const THREADS: u32 = 80;

/// Tells the workspace that it is not in a container.
const MICROVM_MODE: &str = "MICROVM_MODE";

impl Core {
    pub(crate) fn vm_spec(
        &self,
        record: &SeatRecord,
        place: &Place,
        ready: &Ready,
    ) -> Result<VmSpec, ProviderError> {
        let seat = record.of();
        let boot = self.edges.host.boot_files().map_err(|detail| ProviderError::Unavailable {
            provider: seats::ProviderKind::Microvm,
            detail,
        })?;
        let folder = self.state.seat(&seat);
        let drive = |path, serial: &str, read_only, throttle| {
            Ok(Drive { path, serial: Serial::new(serial)?, read_only, throttle })
        };
        let parts = || -> Result<_, SpecError> {
            let throttle = self.config.disk_throttle;
            let drives = vec![
                drive(ready.rootfs(), "root", true, throttle)?,
                drive(folder.scratch(), "scratch", false, throttle)?,
                drive(folder.data(), "data", false, throttle)?,
            ];
            let tap = InterfaceName::new(&record.address.tap)?;
            Ok((drives, Nic { tap, mac: MacAddress(record.address.mac.0) }))
        };
        let wrong = |why| fail::vmm(&seat, Stage::Create)(VmmError::Spec { seat: seat.to_string(), why });
        let (drives, nic) = parts().map_err(wrong)?;
        let limits = record.wish.limits;
        let vcpus = limits.cpu_millis.div_ceil(1000).clamp(1, u32::from(self.config.monitor.most_vcpus()));
        let cgroup = self.config.cgroup.as_ref().map(|parent| CgroupSpec {
            parent: parent.clone(),
            name: names::cgroup(self.state.instance(), &seat),
            memory_bytes: (u64::from(limits.memory_mib) + u64::from(self.overhead_mib(limits.memory_mib)))
                << 20,
            cpu_millis: limits.cpu_millis,
            pids: vcpus + THREADS,
        });
        Ok(VmSpec {
            seat: seat.to_string(),
            folder: folder.run(),
            kernel: boot.kernel,
            initramfs: boot.initramfs,
            command_line: "quiet".into(),
            vcpus: u8::try_from(vcpus).unwrap_or(self.config.monitor.most_vcpus()),
            memory_mib: limits.memory_mib,
            drives,
            nics: vec![nic],
            network_namespace: place.namespace.clone(),
            user: record.uid.map(|uid| UserIds { uid, gid: uid }),
            cgroup,
            console: LogFile {
                path: folder.console(),
                max_bytes: u64::from(self.config.console_max_mib.max(1)) << 20,
                files: self.config.console_files.clamp(1, 100),
            },
            accelerator: self.config.accelerator,
        })
    }

    pub(crate) fn guest_config(
        &self,
        record: &SeatRecord,
        place: &Place,
        ready: &Ready,
        spec: &SeatSpec,
    ) -> Result<GuestConfig, ProviderError> {
        let seat = &spec.seat;
        let image = &ready.image().config;
        let run = Run {
            entrypoint: image.entrypoint.clone(),
            cmd: image.cmd.clone(),
            env: image.env.clone(),
            user: image.user.clone(),
            working_dir: image.working_dir.clone(),
            stop_signal: image.stop_signal.clone(),
        };
        let defaults = workspace::Defaults {
            auth_disabled: self.config.auth_disabled,
            jwks_url: self.config.jwks_url.as_deref(),
        };
        let mut env = vec![EnvVar::open(MICROVM_MODE, "true")];
        env.extend(workspace::environment(defaults, spec).into_iter().map(|variable| {
            let workspace::Variable { name, value, is_secret } = variable;
            if is_secret { EnvVar::secret(name, value) } else { EnvVar::open(name, value) }
        }));
        // What is set here, what the network says, what the host has.
        let mut nameservers = self.config.nameservers.clone();
        if nameservers.is_empty() {
            nameservers.clone_from(&place.nameservers);
        }
        if nameservers.is_empty() {
            nameservers = self.edges.host.nameservers();
        }
        let entropy = random::bytes::<64>();
        let entropy =
            entropy.map_err(fail::io(fail::seat(seat), Stage::Inspect, "reading random numbers"))?;
        let workspace = FOLDER.parse().map_err(|why: guest_protocol::BadPath| {
            fail::failed(fail::seat(seat), Stage::Inspect, why.to_string(), None)
        })?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let machine_id = record.id.get(..32).unwrap_or(&record.id);
        Ok(GuestConfig {
            hosts: Vec::new(),
            resolver: Some(Resolver { nameservers, search: place.search.clone(), options: Vec::new() }),
            network: Some(Network {
                mac: guest_protocol::Mac::new(record.address.mac.0),
                address: record.address.ip,
                prefix: place.prefix,
                gateway: place.gateway,
                mtu: place.mtu,
            }),
            clock_unix_ns: u64::try_from(now.as_nanos()).ok(),
            entropy: entropy.to_vec().into(),
            env,
            limits: Limits { pids: Some(record.wish.limits.pids) },
            workspace: Some(Workspace { path: workspace }),
            capabilities: self.config.capabilities.clone(),
            restart: Restart::default(),
            ..GuestConfig::new(seat.to_string(), format!("seat-{}", seat.seat), machine_id, run)
        })
    }
}
