//! A process beside the workload: `POST /v1/exec`, frames in both directions on one stream.
//!
//! ```text
//!   host                                  agent
//!   REQUEST {argv, tty, …}  ──────▶       the process is started
//!                           ◀──────       200, STARTED {pid}          or a Problem and its status
//!   DATA, RESIZE, SIGNAL    ──────▶
//!                           ◀──────       OUT, ERR
//!   END (no more input)     ──────▶
//!                           ◀──────       EXIT {by, with}, the end of the stream
//! ```
//!
//! When the stream breaks, the process and all of its session are ended.

use serde::{Deserialize, Serialize};

use crate::{EnvVar, GuestPath};

/// Kinds of frames from the host.
pub mod input {
    /// An [`ExecRequest`](crate::ExecRequest), the first frame.
    pub const REQUEST: u8 = 0;
    /// Bytes of the input.
    pub const DATA: u8 = 1;
    /// The input is at its end. A terminal gets its end-of-file character.
    pub const END: u8 = 2;
    /// A [`Size`](crate::Size), the terminal's new one.
    pub const RESIZE: u8 = 3;
    /// A [`SignalRequest`](crate::SignalRequest), for all processes of the session's group.
    pub const SIGNAL: u8 = 4;
}

/// Kinds of frames from the agent.
pub mod output {
    /// Bytes of the standard output; everything, when there is a terminal.
    pub const OUT: u8 = 1;
    /// Bytes of the standard error.
    pub const ERR: u8 = 2;
    /// An [`ExecStarted`](crate::ExecStarted), the first frame.
    pub const STARTED: u8 = 3;
    /// An [`Exit`](crate::Exit), the last frame.
    pub const EXIT: u8 = 4;
}

/// What is run. Variables, user and folder are the workload's where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecRequest {
    /// The program and its arguments; a name without `/` is looked for in `PATH`.
    pub argv: Vec<String>,
    /// Further variables.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Who runs it: a name or number, and perhaps a group after a colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<GuestPath>,
    /// A terminal of this size; pipes when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Size>,
}

impl ExecRequest {
    /// This program with its arguments, with pipes.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { argv, env: Vec::new(), user: None, working_dir: None, tty: None }
    }

    /// The same on a terminal.
    #[must_use]
    pub fn on_terminal(self, size: Size) -> Self {
        Self { tty: Some(size), ..self }
    }
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Size {
    /// How many columns.
    pub columns: u16,
    /// How many rows.
    pub rows: u16,
}

/// The process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecStarted {
    /// Its number in the guest.
    pub pid: u32,
}
