//! Programs: who runs them, with which variables, and what becomes of them.

mod backoff;
mod elf;
mod environment;
mod launch;
mod log;
mod lookup;
mod plan;
mod reap;
mod session;
mod users;
mod workload;

pub(crate) use launch::{Input, Launched, Stdio, resize};
pub(crate) use log::{Log, Source, now_ms};
pub(crate) use lookup::explain;
pub(crate) use plan::{capabilities, plan_exec, plan_workload};
pub(crate) use reap::{Child, Reaper, send};
pub(crate) use session::end_session;
pub(crate) use users::{User, resolve as resolve_user};
pub(crate) use workload::supervise;
