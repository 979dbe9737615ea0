//! No machine at all: the agent in an ordinary process, as tests of the agent and of its host run it.

use std::sync::Arc;

use guest_protocol::GuestConfig;

use super::{Machine, Seat};

/// An ordinary process. Programs run with its own root, and nothing of the system is changed.
#[derive(Debug)]
pub(crate) struct Bare;

impl Machine for Bare {
    fn prepare(&self, config: Arc<GuestConfig>) -> Result<(Seat, Vec<String>), String> {
        Ok((Seat { config, cgroup: None }, Vec::new()))
    }

    fn set_clock(&self, _unix_ns: u64) -> Result<(), String> {
        Err("this agent is no machine's, and leaves the clock alone".into())
    }

    fn power_off(&self) {}
}
