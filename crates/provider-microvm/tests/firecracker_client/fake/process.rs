//! What a process knows and does with a request.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Options;
use super::bodies::{self, Action, Actions, Vm};
use super::vsock;
use crate::server::{Reply, Request};

/// The words of an error; or a document, or nothing.
pub(super) type Done = Result<Option<Value>, String>;

const TOO_LATE: &str = "The requested operation is not supported after starting the microVM.";
const TOO_EARLY: &str = "The requested operation is not supported before starting the microVM.";

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Phase {
    #[serde(rename = "Not started")]
    NotStarted,
    Running,
    Paused,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) options: Options,
    pub(crate) phase: Phase,
    /// Whether something was configured after which no snapshot can be loaded.
    boots: bool,
    pub(super) machine: bodies::Machine,
    boot: Option<bodies::Boot>,
    /// Their images by their names.
    pub(crate) drives: BTreeMap<String, PathBuf>,
    /// TAP device and address by their names.
    pub(crate) nics: BTreeMap<String, (String, Option<String>)>,
    pub(super) vsock: Option<(PathBuf, UnixListener)>,
    balloon: Option<bodies::Balloon>,
    metrics: bool,
    serial: Option<PathBuf>,
    /// TAP devices that were made because there was none.
    pub(crate) made: Vec<String>,
    /// The code with which it ends, when it does.
    pub(crate) exit: Option<i32>,
}

impl Process {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            phase: Phase::NotStarted,
            boots: false,
            machine: bodies::Machine {
                vcpu_count: 1,
                mem_size_mib: 128,
                smt: false,
                track_dirty_pages: false,
                huge_pages: bodies::HugePages::None,
            },
            boot: None,
            drives: BTreeMap::new(),
            nics: BTreeMap::new(),
            vsock: None,
            balloon: None,
            metrics: false,
            serial: None,
            made: Vec::new(),
            exit: None,
        }
    }

    pub(super) fn handle(&mut self, request: &Request) -> Reply {
        let (status, body) = match self.act(request) {
            Ok(None) => (204, String::new()),
            Ok(Some(document)) => (200, document.to_string()),
            Err(fault) => (400, json!({ "fault_message": fault }).to_string()),
        };
        match self.exit {
            Some(_) => Reply::Last { status, body },
            None => Reply::Answer { status, body },
        }
    }

    fn act(&mut self, request: &Request) -> Done {
        let parts: Vec<_> = request.path.trim_start_matches('/').split_terminator('/').collect();
        let body = &request.body[..];
        match (request.method.as_str(), &parts[..], body.is_empty()) {
            ("GET", [], true) => self.info(),
            ("GET", ["version"], true) => Ok(Some(json!({ "firecracker_version": self.options.version }))),
            ("GET", ["balloon", "statistics"], true) => self.statistics(),
            ("GET", _, false) => Err("GET request cannot have a body.".into()),
            ("PUT", _, true) => Err("Empty PUT request.".into()),
            ("PATCH", _, true) => Err("Empty PATCH request.".into()),
            ("PUT", ["actions"], _) => {
                let Actions { action_type } = read(body)?;
                self.action(action_type)
            }
            ("PUT", ["machine-config"], _) => self.before(read(body)?, Self::set_machine),
            ("PUT", ["boot-source"], _) => self.before(read(body)?, Self::set_boot),
            ("PUT", ["drives", id], _) => {
                let drive: bodies::Drive = read_device(id, body, |drive: &bodies::Drive| &drive.drive_id)?;
                self.plugged(drive, Self::set_drive)
            }
            ("PUT", ["network-interfaces", id], _) => {
                let nic: bodies::Nic = read_nic(id, body, |nic: &bodies::Nic| &nic.iface_id)?;
                self.plugged(nic, Self::set_nic)
            }
            ("PUT", ["vsock"], _) => self.before(read(body)?, |this, vsock| this.set_vsock(&vsock)),
            ("PUT", ["entropy"], _) => self.before(read::<bodies::Entropy>(body)?, |this, _| {
                this.boots = true;
                Ok(None)
            }),
            ("PUT", ["balloon"], _) => self.before(read(body)?, Self::set_balloon),
            ("PUT", ["logger"], _) => self.before(read(body)?, |_, logger: bodies::Logger| {
                let opened = logger.log_path.as_deref().map(written).transpose();
                opened.map(|_| None).map_err(|why| format!("Logger error: Failed to open target file: {why}"))
            }),
            ("PUT", ["metrics"], _) => self.before(read(body)?, |this, metrics| this.set_metrics(&metrics)),
            ("PUT", ["serial"], _) => self.before(read(body)?, |this, serial: bodies::Serial| {
                this.serial = serial.serial_out_path;
                Ok(None)
            }),
            ("PUT", ["snapshot", "create"], _) => self.after(read(body)?, |this, files| this.create(&files)),
            ("PUT", ["snapshot", "load"], _) => self.before(read(body)?, |this, load: bodies::Load| {
                if this.boots {
                    let why =
                        "Loading a microVM snapshot not allowed after configuring boot-specific resources.";
                    return Err(format!("Load snapshot error: {why}"));
                }
                this.load(&load).inspect_err(|_| this.exit = Some(1))
            }),
            ("PATCH", ["vm"], _) => self.after(read(body)?, |this, Vm { state }| {
                this.phase = match state {
                    bodies::State::Paused => Phase::Paused,
                    bodies::State::Resumed => Phase::Running,
                };
                Ok(None)
            }),
            ("PATCH", ["drives", id], _) => {
                let patch = read_device(id, body, |patch: &bodies::DrivePatch| &patch.drive_id)?;
                self.after(patch, Self::patch_drive)
            }
            ("PATCH", ["network-interfaces", id], _) => {
                let patch = read_nic(id, body, |patch: &bodies::NicPatch| &patch.iface_id)?;
                self.after(patch, |this, patch| match this.nics.contains_key(&patch.iface_id) {
                    true => Ok(None),
                    false => {
                        Err(format!("Network config error: Unable to update the net device: {NO_DEVICE}"))
                    }
                })
            }
            ("PATCH", ["balloon"], _) => self.after(read(body)?, Self::inflate),
            ("PATCH", ["balloon", "statistics"], _) => self.after(read(body)?, Self::set_interval),
            (method, path, _) => {
                let path = path.first().unwrap_or(&"");
                Err(format!("Invalid request method and/or path: {method} {path}."))
            }
        }
    }

    /// What is done before the start only.
    fn before<T>(&mut self, what: T, then: impl FnOnce(&mut Self, T) -> Done) -> Done {
        if self.phase == Phase::NotStarted { then(self, what) } else { Err(TOO_LATE.into()) }
    }

    /// What is done after the start only.
    fn after<T>(&mut self, what: T, then: impl FnOnce(&mut Self, T) -> Done) -> Done {
        if self.phase == Phase::NotStarted { Err(TOO_EARLY.into()) } else { then(self, what) }
    }

    /// What is plugged in before the start, and after it only into a PCI bus, which there is none of.
    fn plugged<T>(&mut self, what: T, then: impl FnOnce(&mut Self, T) -> Done) -> Done {
        if self.phase == Phase::NotStarted { then(self, what) } else { Err("PCI is not enabled".into()) }
    }

    fn info(&self) -> Done {
        let Self { phase, options, .. } = self;
        let info =
            json!({"id": "fake", "state": phase, "vmm_version": options.version, "app_name": "Firecracker"});
        Ok(Some(info))
    }

    fn action(&mut self, action: Action) -> Done {
        match action {
            Action::InstanceStart => self.before((), |this, ()| this.start()),
            // Also where there is no file for them.
            Action::FlushMetrics => self.after((), |_, ()| Ok(None)),
            Action::SendCtrlAltDel => self.after((), |this, ()| {
                this.exit = this.options.has_keyboard.then_some(0);
                Ok(None)
            }),
        }
    }

    fn start(&mut self) -> Done {
        let Some(boot) = &self.boot else {
            return Err("Start microvm error: Cannot start microvm without kernel configuration.".into());
        };
        let kernel = std::fs::read(&boot.kernel_image_path).map_err(|why| why.to_string())?;
        if !kernel.starts_with(b"\x7fELF") {
            let why = "Cannot load kernel due to invalid memory configuration or invalid kernel image";
            let cause = "Kernel Loader: failed to load ELF kernel image";
            return Err(format!("Start microvm error: System configuration error: {why}: {cause}"));
        }
        if let Some(serial) = &self.serial {
            written(serial).map_err(|why| format!("Start microvm error: {why}"))?;
        }
        self.phase = Phase::Running;
        Ok(None)
    }

    fn set_machine(&mut self, machine: bodies::Machine) -> Done {
        self.boots = true;
        let vcpus = machine.vcpu_count;
        if !(1..=32).contains(&vcpus) || machine.smt && vcpus > 1 && vcpus % 2 == 1 {
            let why = "The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is enabled.";
            return Err(format!("Machine config error: {why}"));
        }
        let whole = machine.huge_pages == bodies::HugePages::None || machine.mem_size_mib.is_multiple_of(2);
        if machine.mem_size_mib == 0 || !whole {
            let why = "The memory size (MiB) is either 0, or not a multiple of the configured page size.";
            return Err(format!("Machine config error: {why}"));
        }
        self.machine = machine;
        Ok(None)
    }

    fn set_boot(&mut self, boot: bodies::Boot) -> Done {
        self.boots = true;
        File::open(&boot.kernel_image_path)
            .map_err(|why| format!("Boot source error: The kernel file cannot be opened: {why}"))?;
        if let Some(initrd) = &boot.initrd_path {
            let what = "The initrd file cannot be opened due to invalid path or invalid permissions.";
            File::open(initrd).map_err(|why| format!("Boot source error: {what} {why}"))?;
        }
        self.boot = Some(boot);
        Ok(None)
    }

    fn set_drive(&mut self, drive: bodies::Drive) -> Done {
        self.boots = true;
        let failed =
            |why: String| format!("Drive config error: Unable to create the virtio block device: {why}");
        let (Some(path), Some(read_only)) = (drive.path_on_host, drive.is_read_only) else {
            return Err(failed("Invalid block config.".into()));
        };
        opened(&path, read_only).map_err(|why| failed(format!("Virtio backend error: {why}")))?;
        self.drives.insert(drive.drive_id, path);
        Ok(None)
    }

    fn patch_drive(&mut self, patch: bodies::DrivePatch) -> Done {
        let failed = |why: String| {
            format!(
                "Drive config error: Unable to patch the block device: {why} Please verify the request arguments."
            )
        };
        let Some(image) = self.drives.get_mut(&patch.drive_id) else { return Err(failed(NO_DEVICE.into())) };
        if let Some(path) = patch.path_on_host {
            opened(&path, false).map_err(|why| failed(format!("Block: Virtio backend error: {why}")))?;
            *image = path;
        }
        Ok(None)
    }

    fn set_nic(&mut self, nic: bodies::Nic) -> Done {
        self.boots = true;
        let taken = |(name, (_, mac)): (&String, &(String, Option<String>))| {
            *name != nic.iface_id && *mac == nic.guest_mac
        };
        if let Some(mac) = nic.guest_mac.as_ref().filter(|_| self.nics.iter().any(taken)) {
            return Err(format!("Network config error: The MAC address is already in use: {mac}"));
        }
        self.tap(&nic.host_dev_name).map_err(|why| format!("Network config error: {why}"))?;
        self.nics.insert(nic.iface_id, (nic.host_dev_name, nic.guest_mac));
        Ok(None)
    }

    /// Opens a TAP device.
    pub(super) fn tap(&mut self, name: &str) -> Result<(), String> {
        if self.options.taps.iter().any(|tap| tap == name) {
            return Ok(());
        }
        if self.options.makes_taps {
            self.made.push(name.to_owned());
            return Ok(());
        }
        let why = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
        Err(format!(
            "Could not create the network device: Open tap device failed: Error while creating ifreq structure: {why}. \
             Invalid TUN/TAP Backend provided by {name}. Check our documentation on setting up the network devices."
        ))
    }

    fn set_vsock(&mut self, vsock: &bodies::Vsock) -> Done {
        self.boots = true;
        self.bind(&vsock.uds_path).map_err(|why| {
            format!("Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: {why}")
        })?;
        Ok(None)
    }

    pub(super) fn bind(&mut self, path: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        if let Some(port) = self.options.echoes_on {
            vsock::echo(listener.try_clone()?, port);
        }
        self.vsock = Some((path.to_owned(), listener));
        Ok(())
    }

    fn set_balloon(&mut self, balloon: bodies::Balloon) -> Done {
        self.boots = true;
        if u64::from(balloon.amount_mib) > self.machine.mem_size_mib {
            return Err("Balloon config error: Amount of pages requested is too large.".into());
        }
        self.balloon = Some(balloon);
        Ok(None)
    }

    fn inflate(&mut self, bodies::Amount { amount_mib }: bodies::Amount) -> Done {
        let failed = |why: &str| Err(format!("Balloon update error: {why}"));
        let Some(balloon) = &mut self.balloon else { return failed(NO_DEVICE) };
        if !self.options.has_drivers {
            return failed("Balloon: Device not activated yet.");
        }
        if u64::from(amount_mib) > self.machine.mem_size_mib {
            return failed(&format!("Balloon: Requested memory should be less than {amount_mib}MiB"));
        }
        balloon.amount_mib = amount_mib;
        Ok(None)
    }

    fn set_interval(
        &mut self,
        bodies::Interval { stats_polling_interval_s: seconds }: bodies::Interval,
    ) -> Done {
        let failed = |why: &str| Err(format!("Balloon update error: {why}"));
        let Some(balloon) = &mut self.balloon else { return failed(NO_DEVICE) };
        if (balloon.stats_polling_interval_s == 0) != (seconds == 0) {
            return failed("Balloon: Statistics cannot be enabled/disabled after activation.");
        }
        balloon.stats_polling_interval_s = seconds;
        Ok(None)
    }

    fn statistics(&mut self) -> Done {
        self.after((), |this, ()| {
            let failed = |why: &str| Err(format!("Internal VMM error: {why}"));
            let Some(balloon) = &this.balloon else { return failed(NO_DEVICE) };
            if balloon.stats_polling_interval_s == 0 {
                return failed("Balloon: Received stats query when stats are disabled.");
            }
            let mib = balloon.amount_mib;
            let pages = u64::from(mib) * 256;
            Ok(Some(
                json!({"target_pages": pages, "actual_pages": pages, "target_mib": mib, "actual_mib": mib}),
            ))
        })
    }

    fn set_metrics(&mut self, metrics: &bodies::Metrics) -> Done {
        let failed = |why: String| {
            format!("Metrics error: Cannot initialize the metrics system due to bad user input: {why}")
        };
        written(&metrics.metrics_path).map_err(|why| failed(why.to_string()))?;
        if std::mem::replace(&mut self.metrics, true) {
            return Err(failed("Reinitialization of metrics not allowed.".into()));
        }
        Ok(None)
    }
}

pub(super) const NO_DEVICE: &str = "Failed perform action on device: Device not found";

/// Opens a drive's image.
pub(super) fn opened(path: &Path, read_only: bool) -> Result<(), String> {
    let file = OpenOptions::new().read(true).write(!read_only).open(path);
    file.map(drop).map_err(|why| format!("Error manipulating the backing file: {why} {}", path.display()))
}

/// Opens a file that is written to, and makes it when it is not there.
fn written(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|why| format!("An error occurred when deserializing the json body of a request: {why}."))
}

/// Reads what is said of a device, whose name is in the path as well.
fn read_device<T: DeserializeOwned>(
    id: &str,
    body: &[u8],
    name: impl Fn(&T) -> &String,
) -> Result<T, String> {
    if !id.chars().all(|char| char == '_' || char.is_alphanumeric()) {
        return Err("API Resource IDs can only contain alphanumeric characters and underscores.".into());
    }
    let device = read(body)?;
    if name(&device) != id {
        return Err("The id from the path does not match the id from the body!".into());
    }
    Ok(device)
}

/// The same, whose error names both.
fn read_nic<T: DeserializeOwned>(id: &str, body: &[u8], name: impl Fn(&T) -> &String) -> Result<T, String> {
    let nic: T = read(body)?;
    let said = name(&nic).clone();
    if said != id && id.chars().all(|char| char == '_' || char.is_alphanumeric()) {
        return Err(format!("The id from the path [{id}] does not match the id from the body [{said}]!"));
    }
    read_device(id, body, name)
}
