//! How a guest is: the answer of `GET /v1/health`, and each line of `GET /v1/watch`.
//!
//! ```text
//!   phase     waiting ──configure──▶ configuring ──▶ running ──stop──▶ stopping ──▶ (the machine is off)
//!                                        └──▶ failed  (what failed is in `reason`)
//!
//!   workload  none ──▶ running ◀──▶ back_off           started again after a pause
//!                         ├──▶ exited                  ended, and stays so by its restart policy
//!                         └──▶ failed                  cannot be started: `reason`
//! ```

use serde::{Deserialize, Serialize};

use crate::{Signal, text};

/// How a guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// The generation of the protocol that the agent speaks.
    pub generation: u32,
    /// The agent's version.
    #[serde(deserialize_with = "text::read")]
    pub version: String,
    /// The kernel's release.
    #[serde(default, deserialize_with = "text::read")]
    pub kernel: String,
    /// The kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`); empty before it was configured.
    #[serde(default, deserialize_with = "text::read")]
    pub boot_id: String,
    /// How long the guest runs, in milliseconds.
    #[serde(default)]
    pub uptime_ms: u64,
    /// The guest's clock in milliseconds since 1970.
    #[serde(default)]
    pub clock_unix_ms: u64,
    /// How far it is.
    pub phase: Phase,
    /// Why the phase is `failed`, or what did not work although it went on, in words.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text::read_option")]
    pub reason: Option<String>,
    /// The image's program.
    #[serde(default)]
    pub workload: Workload,
}

/// How far a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Booted; nobody has said what it is for.
    Waiting,
    /// Its disks, network and files are being prepared.
    Configuring,
    /// Prepared; the workload is looked after.
    Running,
    /// It could not be prepared.
    Failed,
    /// It ends.
    Stopping,
    /// A newer agent's phase.
    #[serde(other)]
    Unknown,
}

/// The image's program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workload {
    /// How it is.
    pub state: WorkloadState,
    /// Its process in the guest, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// When it was started last, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_ms: Option<u64>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// What it said last before it ended: one line of at most 300 characters, without the seat's secrets and
    /// without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text::read_option")]
    pub last_line: Option<String>,
    /// Why it cannot be started, in words.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text::read_option")]
    pub reason: Option<String>,
}

/// How the image's program is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkloadState {
    /// Not started yet.
    #[default]
    None,
    /// It runs.
    Running,
    /// It ended and is started again after a pause.
    BackOff,
    /// It ended and stays so.
    Exited,
    /// It cannot be started.
    Failed,
    /// A newer agent's state.
    #[serde(other)]
    Unknown,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "by", content = "with", rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(Signal),
}

impl Exit {
    /// The code as shells and Docker tell it: 128 and the number for a signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_agent_says_is_read_as_far_as_it_is_known() {
        let health: Health = serde_json::from_str(
            r#"{"generation": 7, "version": "9.0.0", "phase": "dreaming", "mood": [1],
                "workload": {"state": "asleep", "restarts": 2, "last_exit": {"by": "signal", "with": "SIGKILL"}}}"#,
        )
        .unwrap();
        assert_eq!((health.phase, health.workload.state), (Phase::Unknown, WorkloadState::Unknown));
        assert_eq!(health.workload.last_exit.unwrap().code(), 137);
    }

    /// Written by the first agent; whatever comes later must read it.
    #[test]
    fn the_first_generation_is_read() {
        let health: Health = serde_json::from_str(include_str!("../tests/captured/health-1.json")).unwrap();
        assert_eq!((health.generation, health.phase), (1, Phase::Running));
        assert_eq!(health.workload.state, WorkloadState::BackOff);
        assert_eq!(health.workload.last_exit, Some(Exit::Code(3)));
        assert_eq!(health.workload.last_line.as_deref(), Some("boom: no licence file"));
        assert_eq!(health.workload.restarts, 4);
    }
}
