//! A folder with archives and a store, and the processes that work on them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rootfs::Digest;
use rootfs::build::CONVERTER;
use rootfs::source::host_architecture;
use rootfs::store::{Key, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::{Done, orchestrator, run};

/// Far longer than anything takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(120);

pub(super) struct Bed {
    folder: tempfile::TempDir,
    state: PathBuf,
}

impl Bed {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Self { folder, state }
    }

    /// One whose store is in another folder.
    pub(super) fn with_state(state: &Path) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), state: state.to_owned() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// An archive as `docker save` writes it, of an image called `test:1` with one file of so many bytes; the digest
    /// that names the image.
    pub(super) fn archive(&self, name: &str, bytes: usize) -> Digest {
        let mut layer = tar::Builder::new(Vec::new());
        // Nothing that could be a hole, and other bytes in every block.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let content = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let content: Vec<u8> = content.flatten().take(bytes).collect();
        append(&mut layer, "data", &content);
        let layer = layer.into_inner().unwrap();
        let config = json!({"architecture": host_architecture(), "os": "linux",
                            "config": {"Entrypoint": ["/bin/shell"]},
                            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]}})
        .to_string();
        let image = Digest::of(config.as_bytes());
        let config_name = format!("{}.json", image.hex());
        let manifest =
            json!([{"Config": config_name, "RepoTags": ["test:1"], "Layers": ["layer/layer.tar"]}]);
        let mut archive = tar::Builder::new(std::fs::File::create(self.path(name)).unwrap());
        append(&mut archive, "layer/layer.tar", &layer);
        append(&mut archive, &config_name, config.as_bytes());
        append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
        archive.finish().unwrap();
        image
    }

    /// What an image of `archive` is kept under.
    pub(super) fn key(image: Digest) -> Key {
        Key {
            image,
            platform: format!("linux/{}", host_architecture()),
            converter: CONVERTER.to_owned(),
            writer: "mkext4".to_owned(),
            init: None,
            size: None,
        }
    }

    pub(super) fn store(&self) -> Store {
        Store::open(&self.images()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = orchestrator(self.folder.path());
        command.env("ORCHESTRATOR_STATE_DIR", &self.state);
        command.env("ORCHESTRATOR_DOCKER_HOST", "unix:///nonexistent/docker.sock");
        // Options of all commands may be before the word.
        let at = if arguments.first() == Some(&"--output") { 2 } else { 0 };
        let (before, after) = arguments.split_at(at);
        command.args(before).arg("rootfs").args(after);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    #[track_caller]
    pub(super) fn json(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        self.run(&all).code(code).json()
    }

    pub(super) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The same, with a variable of its environment.
    pub(super) fn spawn_with(&self, arguments: &[&str], (name, value): (&str, &str)) -> Child {
        let mut command = self.command(arguments);
        command.env(name, value).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for something that happens.
    pub(super) fn wait_for(&self, has_happened: impl Fn() -> bool) {
        let since = Instant::now();
        while !has_happened() {
            assert!(since.elapsed() < HANG, "it never came so far");
            std::thread::yield_now();
        }
    }

    /// Starts a command and stops it for now, as soon as a file is there whose name begins and ends so.
    pub(super) fn stopped_at(
        &self,
        arguments: &[&str],
        folder: &Path,
        is_there: impl Fn(&str) -> bool,
    ) -> Child {
        let mut child = self.spawn(arguments);
        let since = Instant::now();
        while !files(folder).iter().any(|name| is_there(name)) {
            assert!(since.elapsed() < HANG, "it never came so far");
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before it was stopped: {ended:?}");
            std::thread::yield_now();
        }
        signal(&child, Signal::STOP);
        child
    }

    /// Starts to build `image.tar` into the store and stops it in the middle.
    pub(super) fn stopped_in_the_middle(&self) -> Child {
        let child = self.stopped_at(&["build", "image.tar"], &self.images(), |name| {
            name.starts_with(".new-") && name.ends_with("/rootfs.ext4")
        });
        assert_eq!(self.names(), 0, "it was done before it was stopped");
        child
    }

    /// How many entries are complete.
    pub(super) fn names(&self) -> usize {
        files(&self.images())
            .iter()
            .filter(|name| !name.starts_with('.') && name.ends_with("/image.json"))
            .count()
    }

    /// What is there of entries that are not complete.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let mut left = files(&self.images());
        left.retain(|name| name.starts_with(".new-") || name.starts_with(".old-"));
        left
    }
}

pub(super) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// The names in a folder and, after a slash, in its folders.
pub(super) fn files(folder: &Path) -> Vec<String> {
    let read = |folder: &Path| -> Vec<OsString> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    };
    let mut names = Vec::new();
    for name in read(folder) {
        let shown = name.to_str().unwrap().to_owned();
        for inner in read(&folder.join(&name)) {
            names.push(format!("{shown}/{}", inner.to_str().unwrap()));
        }
        names.push(shown);
    }
    names.sort();
    names
}

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content).unwrap();
}
