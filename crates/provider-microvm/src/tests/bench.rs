//! A state folder, a scripted host, and an image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rootfs::Digest;
use seats::{
    ApiKey, Created, EnvVars, Instance, Limits, Provider as _, ProviderError, SeatBound, SeatRef, SeatSpec,
    Timeline,
};
use serde_json::json;

use crate::edges::scripted::{ScriptedMachine, World};
use crate::state::StateDir;
use crate::vmm::KeeperCommand;
use crate::{EngineConnect, ImageConfig, MicrovmConfig, MicrovmProvider, SnapshotUse};

/// How long anything may take on a machine with much else to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Bench {
    _folder: tempfile::TempDir,
    pub(super) world: World,
    pub(super) config: MicrovmConfig,
}

impl Bench {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archives = folder.path().join("archives");
        std::fs::create_dir(&archives).unwrap();
        std::fs::write(archives.join("good.tar"), archive("testbed:latest", "amd64", true)).unwrap();
        let keeper = KeeperCommand { program: "/bin/false".into(), args: Vec::new() };
        let config = MicrovmConfig {
            images: ImageConfig { archives: vec![archives], ..ImageConfig::default() },
            scratch_mib: 16,
            data_mib: 16,
            start_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(5),
            // Those who test it turn it on.
            snapshot: SnapshotUse::Off,
            ..MicrovmConfig::new(folder.path().join("state"), keeper)
        };
        Self { _folder: folder, world: World::default(), config }
    }

    /// A provider that knows nothing yet.
    pub(super) fn provider(&self) -> Arc<MicrovmProvider> {
        self.provider_with(None)
    }

    /// The same, which may ask an engine for images.
    pub(super) fn provider_with(&self, engine: Option<EngineConnect>) -> Arc<MicrovmProvider> {
        let state = StateDir::open(&self.config.state_dir).unwrap();
        MicrovmProvider::over(self.config.clone(), state, self.world.edges(), engine).unwrap()
    }

    pub(super) fn state(&self) -> PathBuf {
        self.config.state_dir.join("microvm")
    }

    /// The folder of the one image that is there.
    pub(super) fn image_folder(&self) -> PathBuf {
        glob(&self.config.state_dir.join("images"), "pins")[0].parent().unwrap().to_owned()
    }

    pub(super) fn seat_folder(&self, seat: &SeatRef) -> PathBuf {
        self.state().join(format!("workshops/{}/{}", seat.workshop, seat.seat))
    }

    pub(super) fn machine(&self, seat: &SeatRef) -> Arc<ScriptedMachine> {
        self.world.machine(&self.seat_folder(seat).join("run")).unwrap()
    }

    /// Everything of seats that is left: the kernel's objects, and files.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = self.world.objects();
        for of in ["workshops", "locks"] {
            files(&self.state().join(of), &mut left);
        }
        for pins in glob(&self.config.state_dir.join("images"), "pins") {
            files(&pins, &mut left);
        }
        left
    }
}

/// The folders of a name in the folders of a folder.
fn glob(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join(name)).filter(|path| path.exists()).collect()
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        }
    }
}

pub(super) fn seat(workshop: &str, number: u64) -> SeatRef {
    SeatRef::new(workshop.parse().unwrap(), SeatBound::default().seat(number).unwrap())
}

pub(super) fn spec(seat: SeatRef) -> SeatSpec {
    let mut env = EnvVars::default();
    env.insert("LESSON", "sk-canary-lesson".into()).unwrap();
    SeatSpec {
        seat,
        image: "testbed".parse().unwrap(),
        env,
        limits: Limits { cpu_millis: 500, memory_mib: 128, pids: 64 },
        api_key: Some(ApiKey::new("sk-canary-key".into()).unwrap()),
    }
}

pub(super) async fn create(provider: &MicrovmProvider, spec: &SeatSpec) -> Result<Created, ProviderError> {
    provider.create(spec, &Timeline::default()).await
}

/// Makes a seat and waits until it runs.
pub(super) async fn up(provider: &MicrovmProvider, spec: &SeatSpec) -> Instance {
    let created = create(provider, spec).await.unwrap();
    let settled = provider.settle(&created.instance, PATIENCE).await.unwrap();
    assert_eq!(settled.status, seats::Status::Running, "{settled:?}");
    settled
}

/// What `docker save` would write of an image with one program; with one that is there, or not.
pub(super) fn archive(name: &str, architecture: &str, with_program: bool) -> Vec<u8> {
    archive_of(name, architecture, with_program, "1")
}

/// The same, in another version for another label.
pub(super) fn archive_of(name: &str, architecture: &str, with_program: bool, version: &str) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    if with_program {
        append(&mut layer, "init", 0o755, &program());
    }
    append(&mut layer, "etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n");
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Entrypoint": ["/init"], "ExposedPorts": {"3001/tcp": {}, "3002/tcp": {}},
                   "Labels": {"version": version}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, &config_name, 0o644, &config);
    append(&mut archive, "layer.tar", 0o644, &layer);
    append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
    archive.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, content).unwrap();
}

/// The smallest program that looks like one: an ELF header and one segment (elf(5)).
fn program() -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x40_0078_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0]);
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0_u64, 0x40_0000, 0x40_0000, 0x80, 0x80, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0x0f, 0x05, 0, 0, 0, 0, 0, 0]);
    elf
}

/// How often a VM was started.
pub(super) fn starts(bench: &Bench) -> usize {
    bench.world.state().steps.iter().filter(|step| *step == "start").count()
}
