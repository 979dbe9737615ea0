//! The one table of settings: what a key is called, which type it has, its default and what it is for.
//!
//! Everything else follows from it: the keys that a file may have, the variables, the flags of `serve`, what
//! `--print-config` shows and the reference in the documentation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use lifecycle::AllowedImage;
use seats::{ImageRef, SeatBound};

use super::layers::Layers;
use super::log_filter::LogFilter;
use super::problem::Problem;
use super::value::{Cpus, SettingValue, Span, UnlessOff, Whole, choice};

choice! {
    /// What runs the seats.
    ProviderChoice {
        /// Containers on a Docker engine.
        Docker = "docker",
        /// A virtual machine for every seat, on Linux.
        Microvm = "microvm",
        /// Simulated seats, for trying the service out.
        Sim = "sim",
    }
}

choice! {
    /// How the log is written.
    LogFormat {
        /// `pretty` on a terminal, `json` elsewhere.
        Auto = "auto",
        /// For people.
        Pretty = "pretty",
        /// One JSON object per line.
        Json = "json",
    }
}

choice! {
    /// Whether seats are kept from the cloud's metadata service.
    GuardChoice {
        /// Wherever the service can.
        Auto = "auto",
        /// No seat is made without it.
        Required = "required",
        /// Not at all.
        Off = "off",
    }
}

choice! {
    /// How the seats of microVMs are connected.
    NetworkChoice {
        /// By bridges and a packet filter of the service's own.
        Bridge = "bridge",
        /// By a network that the operator has configured for CNI plugins.
        Cni = "cni",
    }
}

choice! {
    /// What microVMs run in.
    MonitorChoice {
        /// QEMU's microvm machine, with or without KVM.
        Qemu = "qemu",
        /// Firecracker, with KVM.
        Firecracker = "firecracker",
    }
}

choice! {
    /// What runs the instructions of microVMs.
    AcceleratorChoice {
        /// KVM where a probe says that guests run with it, else TCG.
        Auto = "auto",
        /// Hardware virtualization, or no seat.
        Kvm = "kvm",
        /// QEMU's own translator.
        Tcg = "tcg",
    }
}

choice! {
    /// Whether the guests of microVMs go on from a snapshot instead of booting.
    SnapshotChoice {
        /// Wherever that can be.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// What becomes of what microVM seats send to addresses on no list.
    EgressChoice {
        /// It is passed on.
        Allow = "allow",
        /// It is dropped.
        Deny = "deny",
    }
}

/// One row of the table.
pub(crate) struct Setting {
    /// The dotted key in a file.
    pub(crate) key: &'static str,
    /// The default as text.
    pub(crate) default: &'static str,
    /// What it is for, in one line.
    pub(crate) doc: &'static str,
    /// See [`SettingValue::form`].
    pub(crate) form: fn() -> String,
    /// The value in TOML, or `None` when it is not set.
    pub(crate) show: fn(&Settings) -> Option<String>,
}

impl Setting {
    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("ORCHESTRATOR_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The flag that sets it, without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The table of the file that it is in, and its name there.
    pub(crate) fn section_and_name(&self) -> (Option<&'static str>, &'static str) {
        self.key.split_once('.').map_or((None, self.key), |(section, name)| (Some(section), name))
    }
}

macro_rules! settings {
    ($($key:literal $field:ident: $kind:ty = $default:expr, $doc:literal;)+) => {
        /// Every setting with its value.
        #[derive(Clone, Debug)]
        #[allow(clippy::doc_markdown, reason = "the texts are also help texts, where backticks would show")]
        pub(crate) struct Settings { $(#[doc = $doc] pub(crate) $field: $kind,)+ }

        /// Every setting, in the order of the reference.
        pub(crate) const TABLE: &[Setting] = &[$(Setting {
            key: $key,
            default: $default,
            doc: $doc,
            form: <$kind as SettingValue>::form,
            show: |settings| settings.$field.to_toml(),
        },)+];

        impl Settings {
            /// Reads every layer of every setting, and takes the last of each. `None` after a problem.
            pub(crate) fn read(layers: &Layers<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
                $(let $field = layers.read::<$kind>($key, problems);)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}

/// Container addresses cannot be reached from macOS, where the engine runs in a virtual machine.
const PUBLISH: &str = if cfg!(target_os = "macos") { "127.0.0.1" } else { "off" };

settings! {
    "listen" listen: SocketAddr = "127.0.0.1:8080",
        "Where the service listens; any address but loopback needs a token. Port 0 takes a free one.";
    "provider" provider: ProviderChoice = "docker",
        "What runs the seats.";
    "state_dir" state_dir: PathBuf = "/var/lib/clarateach",
        "The folder for files that outlive the service: converted images, and the records and disks of microVMs.";
    "token_file" token_file: Option<PathBuf> = "off",
        "The file with the token that clients must send; ORCHESTRATOR_TOKEN can hold the token itself.";
    "shutdown_timeout" shutdown_timeout: Span = "30s",
        "How long a shutdown waits for running creates and open requests.";

    "seats.max" seats_max: SeatBound = "100",
        "The highest seat number of a workshop.";
    "seats.image" seats_image: ImageRef = "clarateach-workspace",
        "The image of a seat that names none.";
    "seats.allowed_images" seats_allowed_images: Vec<AllowedImage> = "",
        "The images that a request may name besides the default; 'prefix*' allows many. Empty allows any.";
    "seats.cpus" seats_cpus: Cpus = "1",
        "The CPUs of a seat that names none.";
    "seats.memory_mib" seats_memory_mib: Whole<16, 1_048_576> = "1024",
        "The memory of a seat that names none.";
    "seats.pids" seats_pids: Whole<16, 1_000_000> = "512",
        "The processes and threads of a seat that names none.";
    "seats.max_cpus" seats_max_cpus: Cpus = "4",
        "The most CPUs that a request may ask for.";
    "seats.max_memory_mib" seats_max_memory_mib: Whole<16, 1_048_576> = "8192",
        "The most memory that a request may ask for.";
    "seats.max_pids" seats_max_pids: Whole<16, 1_000_000> = "4096",
        "The most processes and threads that a request may ask for.";
    "seats.start_timeout" seats_start_timeout: Span = "60s",
        "How long a started workspace may take until it answers, before it counts as broken.";
    "seats.stop_grace" seats_stop_grace: Span = "10s",
        "How long a workspace whose data is kept may take to stop, before it is killed.";
    "seats.auth_disabled" seats_auth_disabled: bool = "false",
        "Turns the workspace's own authentication off (AUTH_DISABLED of a seat that is given none).";
    "seats.jwks_url" seats_jwks_url: Option<String> = "off",
        "Where the workspace finds the keys of its tokens (JWKS_URL of a seat that is given none).";
    "seats.capabilities" seats_capabilities: Vec<String> = "CHOWN,DAC_OVERRIDE,FOWNER,KILL,SETGID,SETUID",
        "The capabilities that a seat keeps; all others are dropped.";

    "creates.parallel" creates_parallel: Whole<0, 1024> = "0",
        "How many seats are made at the same time; 0 is twice the number of cores.";
    "creates.queue" creates_queue: Whole<0, 100_000> = "1000",
        "How many more may wait in line before the service answers 429.";

    "http.max_body_kib" http_max_body_kib: Whole<1, 65_536> = "256",
        "The largest request body.";
    "http.max_wait" http_max_wait: Span = "10m",
        "The longest that a request may ask to wait for a seat.";
    "http.connections" http_connections: Whole<1, 65_536> = "1024",
        "How many connections are served at the same time.";

    "log.level" log_level: LogFilter = "info",
        "What is logged: off, error, warn, info, debug or trace, also per part (\"info,lifecycle=debug\").";
    "log.format" log_format: LogFormat = "auto",
        "How the log is written; auto is pretty on a terminal and json elsewhere.";

    "docker.host" docker_host: String = "unix:///var/run/docker.sock",
        "The socket of the engine; when it is not set, DOCKER_HOST counts.";
    "docker.pool" docker_pool: Ipv4Net = "10.213.0.0/16",
        "The addresses that workshop networks are cut from.";
    "docker.subnet_prefix" docker_subnet_prefix: Option<Whole<8, 29>> = "off",
        "The prefix length of a workshop's network; off takes the smallest that holds seats.max.";
    "docker.publish" docker_publish: Option<IpAddr> = PUBLISH,
        "Publishes the seats' ports on this address of the host, for hosts that cannot reach container addresses.";
    "docker.endpoint_host" docker_endpoint_host: Option<String> = "off",
        "The host name in the endpoints of published ports, when it is not the address.";
    "docker.command" docker_command: Vec<String> = "",
        "A command to run instead of the image's own.";
    "docker.log_max_size_mib" docker_log_max_size_mib: Whole<1, 10_240> = "10",
        "The size at which a seat's log file is rotated.";
    "docker.log_max_files" docker_log_max_files: Whole<1, 100> = "2",
        "How many log files of a seat are kept.";
    "docker.isolate_seats" docker_isolate_seats: bool = "true",
        "No traffic between the seats of a workshop.";
    "docker.shared_network" docker_shared_network: bool = "false",
        "Attaches seats to the old scripts' proxy network too; refused while a second workshop is on the host.";
    "docker.call_timeout" docker_call_timeout: Span = "2m",
        "How long one call to the engine may take.";
    "docker.metadata_guard" docker_metadata_guard: GuardChoice = "auto",
        "Keeps seats from cloud metadata and from each other; auto warns where it cannot, required makes no seat then.";

    "microvm.network" microvm_network: NetworkChoice = "bridge",
        "How seats are connected: by bridges and rules of this service, or by a CNI network of the operator's.";
    "microvm.cni_network" microvm_cni_network: Option<String> = "off",
        "The CNI network of the seats, by the name in its .conflist.";
    "microvm.cni_config_dir" microvm_cni_config_dir: PathBuf = "/etc/cni/net.d",
        "Where the lists of CNI networks are.";
    "microvm.cni_bin_dirs" microvm_cni_bin_dirs: Vec<PathBuf> = "/usr/lib/cni,/opt/cni/bin",
        "Where CNI plugins are; of two with one name the first counts.";
    "microvm.cni_timeout" microvm_cni_timeout: Span = "60s",
        "How long one CNI plugin may run before it is killed.";
    "microvm.pool" microvm_pool: Ipv4Net = "10.214.0.0/16",
        "The addresses that workshop networks are cut from.";
    "microvm.subnet_prefix" microvm_subnet_prefix: Option<Whole<8, 29>> = "off",
        "The prefix length of a workshop's network; off takes the smallest that holds seats.max.";
    "microvm.nameservers" microvm_nameservers: Vec<IpAddr> = "",
        "The name servers of seats, always within their reach; none takes those of the host that are not on its loopback.";
    "microvm.egress" microvm_egress: EgressChoice = "allow",
        "Whether seats reach addresses on no list below; other seats, this host and cloud metadata they never reach.";
    "microvm.egress_allow" microvm_egress_allow: Vec<Ipv4Net> = "",
        "Networks that seats reach, whatever egress and egress_deny say.";
    "microvm.egress_deny" microvm_egress_deny: Vec<Ipv4Net> = "",
        "Networks that seats do not reach.";
    "microvm.scratch_mib" microvm_scratch_mib: Whole<16, 16_777_216> = "4096",
        "What a seat can write outside its workspace; the disk grows as it is written.";
    "microvm.data_mib" microvm_data_mib: Whole<16, 16_777_216> = "8192",
        "The size of a seat's workspace; the disk grows as it is written.";
    "microvm.disk_mib_per_second" microvm_disk_mib_per_second: Option<Whole<1, 1_048_576>> = "off",
        "How much each of a seat's disks reads and writes in a second.";
    "microvm.disk_operations_per_second" microvm_disk_operations_per_second: Option<Whole<1, 100_000_000>> = "off",
        "How often each of a seat's disks reads and writes in a second.";
    "microvm.network_receive_mbit_per_second" microvm_network_receive_mbit_per_second: Option<Whole<1, 100_000>> = "off",
        "How much a seat receives in a second, in megabits; what is too much waits a moment, then it is dropped.";
    "microvm.network_send_mbit_per_second" microvm_network_send_mbit_per_second: Option<Whole<1, 100_000>> = "off",
        "How much a seat sends in a second, in megabits, wherever it goes; what is too much is dropped.";
    "microvm.least_memory_mib" microvm_least_memory_mib: Whole<64, 1_048_576> = "96",
        "The least memory of a seat; with less its guest does not boot.";
    "microvm.overhead_mib" microvm_overhead_mib: Option<Whole<16, 65_536>> = "off",
        "What a virtual machine monitor may use beyond its guest's memory; off takes what was measured of it.";
    "microvm.memory_percent" microvm_memory_percent: Whole<10, 1000> = "100",
        "How much of the host's memory may be promised to seats; above 100 counts on guests that do not use all of theirs.";
    "microvm.least_free_mib" microvm_least_free_mib: Whole<0, 16_777_216> = "1024",
        "How much of the disk must be free before a seat is made.";
    "microvm.first_uid" microvm_first_uid: Whole<1000, 4_294_000_000> = "1073741824",
        "The first of the user numbers that monitors run as, each seat with one of its own; nobody else may have them.";
    "microvm.cgroup" microvm_cgroup: String = "clarateach",
        "The cgroup that holds those of the seats.";
    "microvm.monitor" microvm_monitor: MonitorChoice = "qemu",
        "The virtual machine monitor of new seats; those that run keep theirs. Firecracker needs KVM.";
    "microvm.firecracker" microvm_firecracker: PathBuf = "firecracker",
        "Firecracker, 1.16 or later: a path, or a name that is looked for in the PATH.";
    "microvm.jailer" microvm_jailer: UnlessOff<PathBuf> = "jailer",
        "Firecracker's jailer, of the same release; off runs Firecracker as the service's own user, without any jail.";
    "microvm.qemu" microvm_qemu: PathBuf = "qemu-system-x86_64",
        "QEMU: a path, or a name that is looked for in the PATH.";
    "microvm.accelerator" microvm_accelerator: AcceleratorChoice = "auto",
        "What runs the guests; auto takes KVM where a trial guest runs with it and tcg, which is slow, elsewhere.";
    "microvm.snapshot" microvm_snapshot: SnapshotChoice = "off",
        "Whether seats go on from a snapshot of a booted guest; one is made for each image and size, and kept in memory.";
    "microvm.image_archives" microvm_image_archives: Vec<PathBuf> = "",
        "Files of 'docker save', OCI layouts, or folders of such, that images are taken from before the engine.";
    "microvm.registry" microvm_registry: bool = "true",
        "Whether an image that is nowhere else is fetched from the registry that its name says.";
    "microvm.insecure_registries" microvm_insecure_registries: Vec<String> = "",
        "Registries, as host or host:port, that are asked without TLS; those on loopback are anyway.";
    "microvm.image_memory_mib" microvm_image_memory_mib: Whole<64, 1_048_576> = "150",
        "How much memory the conversion of an image may take; images of more than some 100 000 names need more.";
    "microvm.console_max_mib" microvm_console_max_mib: Whole<1, 10_240> = "10",
        "The size at which the log of a seat's console is rotated.";
    "microvm.console_files" microvm_console_files: Whole<1, 100> = "2",
        "How many parts of a seat's console log are kept.";

    "sim.latency" sim_latency: Span = "0s",
        "How long each step of the simulated engine takes.";
    "sim.http" sim_http: bool = "true",
        "Whether simulated seats really answer over HTTP.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_type() {
        let mut problems = Vec::new();
        assert!(Settings::read(&Layers::default(), &mut problems).is_some(), "{problems:?}");
    }

    #[test]
    fn names_are_unique_and_documented() {
        let variables: BTreeSet<_> = TABLE.iter().map(Setting::variable).collect();
        let flags: BTreeSet<_> = TABLE.iter().map(Setting::flag).collect();
        assert_eq!((variables.len(), flags.len()), (TABLE.len(), TABLE.len()));
        for setting in TABLE {
            assert!(setting.doc.ends_with('.') && setting.doc.len() < 120, "{}", setting.key);
            assert!(setting.key.split('.').count() <= 2, "{}", setting.key);
        }
    }
}
