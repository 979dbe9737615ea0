//! What a process knows and does with a request.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Options;
use super::bodies::{self, Action, Actions, Vm};
use super::devices::{NO_DEVICE, written};
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
    pub(super) boots: bool,
    pub(super) machine: bodies::Machine,
    pub(super) boot: Option<bodies::Boot>,
    /// Their images by their names.
    pub(crate) drives: BTreeMap<String, PathBuf>,
    /// TAP device and address by their names.
    pub(crate) nics: BTreeMap<String, (String, Option<String>)>,
    pub(super) vsock: Option<(PathBuf, UnixListener)>,
    pub(super) balloon: Option<bodies::Balloon>,
    pub(super) metrics: Option<File>,
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
            metrics: None,
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
    pub(super) fn after<T>(&mut self, what: T, then: impl FnOnce(&mut Self, T) -> Done) -> Done {
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
            Action::FlushMetrics => self.after((), |this, ()| {
                let flushed = this.flush();
                flushed.map(|()| None).map_err(|why| format!("Internal VMM error: Metrics error: {why}"))
            }),
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
        // What has no room is lost.
        drop(self.flush());
        Ok(None)
    }
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
