//! Snapshots: the state as JSON, and a memory file of the right size with nothing in it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bodies;
use super::devices::opened;
use super::process::{Done, Phase, Process};

/// The version of the format. Another one is refused.
const FORMAT: &str = "10.0.0";

/// What it says of a memory file that is too short.
const TOO_SHORT: &str = "Total sum of memory regions exceeds largest possible file offset";

#[derive(Debug, Deserialize, Serialize)]
struct State {
    format: String,
    machine: bodies::Machine,
    drives: Vec<(String, PathBuf)>,
    nics: Vec<(String, String, Option<String>)>,
    vsock: Option<PathBuf>,
}

impl Process {
    pub(super) fn create(&mut self, files: &bodies::Create) -> Done {
        let failed = |why: String| format!("Create snapshot error: {why}");
        if self.phase == Phase::Running {
            let why = "Operation not allowed: save/restore unavailable while running";
            return Err(failed(format!("Cannot save the microVM state: {why}")));
        }
        let state = State {
            format: FORMAT.into(),
            machine: self.machine.clone(),
            drives: self.drives.clone().into_iter().collect(),
            nics: self.nics.iter().map(|(id, (tap, mac))| (id.clone(), tap.clone(), mac.clone())).collect(),
            vsock: self.vsock.as_ref().map(|(path, _)| path.clone()),
        };
        let text = serde_json::to_vec(&state).map_err(|why| failed(why.to_string()))?;
        let written =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&files.snapshot_path);
        let mut written = written
            .map_err(|why| failed(format!("Cannot perform open on the snapshot backing file: {why}")))?;
        let on_state = |why| failed(format!("Cannot perform write on the snapshot backing file: {why}"));
        io::Write::write_all(&mut written, &text).map_err(on_state)?;
        let memory =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&files.mem_file_path);
        let memory =
            memory.map_err(|why| failed(format!("Cannot perform open on the memory backing file: {why}")))?;
        let sized = memory.set_len(self.machine.mem_size_mib << 20);
        sized
            .map_err(|why| failed(format!("Cannot perform set_length on the memory backing file: {why}")))?;
        Ok(None)
    }

    pub(super) fn load(&mut self, load: &bodies::Load) -> Done {
        let failed = |why: String| format!("Load snapshot error: Failed to restore from snapshot: {why}");
        let on_state = |why: String| failed(format!("Failed to get snapshot state from file: {why}"));
        let text = fs::read(&load.snapshot_path);
        let text = text.map_err(|why| on_state(format!("Failed to open snapshot file: {why}")))?;
        let state = serde_json::from_slice::<State>(&text);
        let mut state = state.map_err(|_| {
            let why = "An error occurred during bitcode serialization: bitcode error";
            on_state(format!("Failed to load snapshot state from file: {why}"))
        })?;
        if state.format != FORMAT {
            let why = format!("Invalid data version: {}", state.format);
            return Err(on_state(format!("Failed to load snapshot state from file: {why}")));
        }
        for other in &load.network_overrides {
            match state.nics.iter_mut().find(|(id, ..)| *id == other.iface_id) {
                Some((_, tap, _)) => tap.clone_from(&other.host_dev_name),
                None => return Err(on_state("Unknown Network Device.".into())),
            }
        }
        if let Some(other) = &load.vsock_override {
            match &mut state.vsock {
                Some(path) => path.clone_from(&other.uds_path),
                None => return Err(on_state("Unknown Vsock Device.".into())),
            }
        }
        self.map(&load.mem_backend, state.machine.mem_size_mib << 20)
            .map_err(|why| failed(format!("Failed to load guest memory: {why}")))?;
        self.build(state).map_err(|why| failed(format!("Failed to build microVM from snapshot: {why}")))?;
        self.phase = if load.resume_vm { Phase::Running } else { Phase::Paused };
        Ok(None)
    }

    fn map(&self, from: &bodies::Backend, size: u64) -> Result<(), String> {
        let bodies::BackendKind::File = from.backend_type else {
            return Err("Error creating guest memory from uffd: nobody gives pages to a fake".into());
        };
        let file = |why: String| format!("Error creating guest memory from file: {why}");
        let there = fs::metadata(&from.backend_path);
        let there = there.map_err(|why| file(format!("Failed to load guest memory: {why}")))?;
        if there.len() < size {
            return Err(file(format!("Failed to restore guest memory: {TOO_SHORT}")));
        }
        Ok(())
    }

    fn build(&mut self, state: State) -> Result<(), String> {
        for (_, image) in &state.drives {
            opened(image, false)?;
        }
        for (_, tap, _) in &state.nics {
            self.tap(tap)?;
        }
        if let Some(path) = &state.vsock {
            self.bind(path).map_err(|why| format!("Error binding to the host-side Unix socket: {why}"))?;
        }
        self.machine = state.machine;
        self.drives = state.drives.into_iter().collect();
        self.nics = state.nics.into_iter().map(|(id, tap, mac)| (id, (tap, mac))).collect();
        Ok(())
    }
}
