//! What goes over the wire (QAPI schema, `qapi/*.json` of QEMU).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vmm::Throttle;
use crate::vmm::qemu::Version;

/// The first thing QEMU says.
#[derive(Debug, Deserialize)]
pub(super) struct Greeting {
    #[serde(rename = "QMP")]
    pub(super) qmp: Hello,
}

#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) version: Versions,
}

#[derive(Debug, Deserialize)]
pub(super) struct Versions {
    pub(super) qemu: Version,
}

/// What QEMU is told to do.
#[derive(Debug, Serialize)]
#[serde(tag = "execute", content = "arguments", rename_all = "snake_case")]
pub(super) enum Command<'a> {
    QmpCapabilities,
    #[serde(rename = "query-status")]
    QueryStatus,
    Stop,
    Cont,
    Quit,
    SystemPowerdown,
    BlockSetIoThrottle(BlockThrottle<'a>),
    #[serde(rename = "migrate-set-capabilities")]
    MigrateSetCapabilities(Capabilities),
    Getfd(FdName),
    Migrate(Uri),
    #[serde(rename = "migrate-incoming")]
    MigrateIncoming(Uri),
    #[serde(rename = "query-migrate")]
    QueryMigrate,
    #[serde(rename = "query-chardev")]
    QueryChardev,
}

#[derive(Debug, Serialize)]
pub(super) struct Capabilities {
    capabilities: [Capability; 2],
}

#[derive(Debug, Serialize)]
struct Capability {
    capability: &'static str,
    state: bool,
}

/// What a descriptor is called that goes with the command.
#[derive(Debug, Serialize)]
pub(super) struct FdName {
    fdname: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Uri {
    uri: &'static str,
}

/// What the file of a machine's state is called.
const STATE: (&str, &str) = ("state", "fd:state");

/// All of these have to be there; a limit on reads and writes together excludes one on either.
#[derive(Debug, Serialize)]
pub(super) struct BlockThrottle<'a> {
    id: &'a str,
    bps: u64,
    bps_rd: u64,
    bps_wr: u64,
    iops: u64,
    iops_rd: u64,
    iops_wr: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Numbered<'a> {
    #[serde(flatten)]
    command: Command<'a>,
    id: u64,
}

impl<'a> Command<'a> {
    pub(super) fn throttle(id: &'a str, throttle: Throttle) -> Self {
        let Throttle { bytes_per_second: bps, operations_per_second: iops } = throttle;
        Self::BlockSetIoThrottle(BlockThrottle {
            id,
            bps,
            bps_rd: 0,
            bps_wr: 0,
            iops,
            iops_rd: 0,
            iops_wr: 0,
        })
    }

    /// Memory that others can map is neither written nor read, and how far it is, is told.
    pub(super) fn memory_stays() -> Self {
        let on = |capability| Capability { capability, state: true };
        Self::MigrateSetCapabilities(Capabilities { capabilities: [on("x-ignore-shared"), on("events")] })
    }

    /// Takes the file of a machine's state.
    pub(super) fn take_state() -> Self {
        Self::Getfd(FdName { fdname: STATE.0 })
    }

    /// Writes the machine's state to that file.
    pub(super) fn write_state() -> Self {
        Self::Migrate(Uri { uri: STATE.1 })
    }

    /// Reads it from there.
    pub(super) fn read_state() -> Self {
        Self::MigrateIncoming(Uri { uri: STATE.1 })
    }

    pub(super) fn numbered(self, id: u64) -> Numbered<'a> {
        Numbered { command: self, id }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::QmpCapabilities => "qmp_capabilities",
            Self::QueryStatus => "query-status",
            Self::Stop => "stop",
            Self::Cont => "cont",
            Self::Quit => "quit",
            Self::SystemPowerdown => "system_powerdown",
            Self::BlockSetIoThrottle(_) => "block_set_io_throttle",
            Self::MigrateSetCapabilities(_) => "migrate-set-capabilities",
            Self::Getfd(_) => "getfd",
            Self::Migrate(_) => "migrate",
            Self::MigrateIncoming(_) => "migrate-incoming",
            Self::QueryMigrate => "query-migrate",
            Self::QueryChardev => "query-chardev",
        }
    }
}

/// What the machine does (`RunState` in `qapi/run-state.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// The processors run.
    Running,
    /// Stopped on command.
    Paused,
    /// Started stopped, and not let go yet.
    Prelaunch,
    /// The guest has shut down.
    Shutdown,
    /// QEMU gave up.
    InternalError,
    /// Stopped for an error of a disk.
    IoError,
    /// The guest's kernel panicked.
    GuestPanicked,
    /// Another state, that machines of ours do not get into.
    #[serde(other)]
    Other,
}

/// What QEMU says without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The processors run.
    Resume,
    /// The processors stand.
    Stop,
    /// The machine ends; whether the guest wanted it.
    Shutdown {
        /// It was the guest.
        guest: bool,
    },
    /// The guest opened the agent's port, or closed it.
    AgentPort {
        /// Opened.
        open: bool,
    },
    /// Reading or writing a drive failed.
    BlockError {
        /// Its words.
        why: String,
    },
    /// The writing or reading of the machine's state goes on, or is over.
    Migration(Migration),
    /// Another; its name.
    Other(String),
}

/// How far the writing or reading of a machine's state is (`MigrationStatus` in `qapi/migration.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// All is written or read.
    Completed,
    /// It has been given up.
    Failed,
    /// In between.
    Underway,
}

impl Migration {
    pub(super) fn of(status: &str) -> Self {
        match status {
            "completed" => Self::Completed,
            "failed" | "cancelled" => Self::Failed,
            _ => Self::Underway,
        }
    }
}

/// A line of QEMU's after the greeting.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Line")]
pub(super) enum Message {
    Event(Event),
    Answer { id: u64, result: Result<Value, String> },
}

#[derive(Debug, Deserialize)]
struct Line {
    id: Option<u64>,
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

impl TryFrom<Line> for Message {
    type Error = &'static str;

    fn try_from(line: Line) -> Result<Self, Self::Error> {
        match line {
            Line { event: Some(name), data, .. } => Ok(Self::Event(event(&name, &data))),
            Line { id: Some(id), error: Some(refusal), .. } => {
                Ok(Self::Answer { id, result: Err(refusal.desc) })
            }
            Line { id: Some(id), value: Some(value), .. } => Ok(Self::Answer { id, result: Ok(value) }),
            _ => Err("neither an answer with a number nor an event"),
        }
    }
}

fn event(name: &str, data: &Value) -> Event {
    let flag = |key: &str| data.get(key).and_then(Value::as_bool).unwrap_or_default();
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    match name {
        "RESUME" => Event::Resume,
        "STOP" => Event::Stop,
        "SHUTDOWN" => Event::Shutdown { guest: flag("guest") },
        "VSERPORT_CHANGE" if text("id") == "agent" => Event::AgentPort { open: flag("open") },
        "BLOCK_IO_ERROR" => Event::BlockError { why: format!("{}: {}", text("operation"), text("reason")) },
        "MIGRATION" => Event::Migration(Migration::of(text("status"))),
        other => Event::Other(other.chars().take(64).collect()),
    }
}
