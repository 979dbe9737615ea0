//! Images, from wherever they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::Docker;
use provider_docker::DockerHost;
use rootfs::Digest;
use rootfs::source::engine::{self, EngineError};
use rootfs::source::registry::{self, RegistryError};
use rootfs::source::{Choice, Image, SpoolError};
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Progress;
use super::source::Source;
use crate::cli::WhichImage;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// What to do when a disk is full.
pub(super) const ROOM: &str =
    "name another disk by --state-dir or --out, or make room: 'orchestrator rootfs gc' helps";

/// How long a small call to the engine may take.
const CALL: Duration = Duration::from_secs(60);

/// What is on the disk only until the work is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Partial(Arc<Mutex<Option<PathBuf>>>);

impl Partial {
    pub(super) fn set(&self, path: Option<PathBuf>) {
        if let Ok(mut partial) = self.0.lock() {
            *partial = path;
        }
    }

    fn remove(&self) {
        let Some(path) = self.0.lock().ok().and_then(|mut partial| partial.take()) else { return };
        // What cannot be removed now is removed by the next run.
        let _ = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_dir_all(rootfs::writer::stage(&path)).and(std::fs::remove_file(path))
        };
    }
}

/// Does the work unless a signal comes first; then what there is of it is removed.
pub(super) fn working<T>(work: impl AsyncFnOnce(Partial) -> Result<T, Failure>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let partial = Partial::default();
    let outcome = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            outcome = work(partial.clone()) => Ok(outcome),
            _ = interrupt.recv() => Err(anyhow::Error::from(interrupted())),
            _ = terminate.recv() => Err(anyhow::Error::from(interrupted())),
        }
    });
    if outcome.is_err() {
        partial.remove();
    }
    // A thread that is still at it ends with the process.
    runtime.shutdown_background();
    Ok(outcome??)
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failure, "interrupted; nothing of it is left")
}

/// Runs work that does not wait for anything but the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Exit::Failure, format!("the conversion ended early: {error}")))?
}

/// Opens an image; one that is not a file is brought into a file without a name in the folder `spool`.
pub(super) async fn open(
    source: &Source,
    which: &WhichImage,
    config: &Config,
    spool: &Path,
    progress: &Progress,
) -> Result<Image, Failure> {
    let architecture = which.architecture.as_deref();
    match source {
        Source::File { path, name } => {
            let choice = Choice { name: name.clone(), architecture: which.architecture.clone() };
            let path = path.clone();
            blocking(move || {
                Image::open(&path, &choice).map_err(|why| {
                    let exit = if path.exists() { Exit::Failure } else { Exit::NotFound };
                    Failure::new(exit, why.to_string())
                })
            })
            .await
        }
        Source::Engine(name) => {
            let docker = connect(config).await?;
            engine::fetch(&docker, name, spool, architecture, progress)
                .await
                .map_err(|why| of_engine(name, &why))
        }
        Source::Registry(name) => {
            let options =
                registry::Options { insecure: which.insecure_registry.clone(), ..Default::default() };
            let fetched = registry::fetch(name, &options, spool, architecture, progress).await;
            fetched.map_err(|why| of_registry(name, &why))
        }
    }
}

/// What an image of the engine is, without bringing it.
pub(super) async fn known(source: &Source, config: &Config) -> Option<(Digest, String)> {
    let Source::Engine(name) = source else { return None };
    let docker = connect(config).await.ok()?;
    let image = docker.inspect_image(name).await.ok()?;
    let platform = format!("{}/{}", image.os.as_deref()?, image.architecture.as_deref()?);
    Some((image.id?.parse().ok()?, platform))
}

async fn connect(config: &Config) -> Result<Docker, Failure> {
    let text = &config.settings.docker_host;
    let host: DockerHost =
        text.parse().map_err(|why| Failure::new(Exit::Usage, format!("docker.host: {why}")))?;
    provider_docker::connect(&host, CALL).await.map_err(|why| {
        Failure::new(Exit::Unavailable, format!("the Docker engine at {host} does not answer: {why}")).remedy(
            "start it, or name another by docker.host; a 'docker save' archive, an OCI layout and docker://NAME, for a \
             registry, need none",
        )
    })
}

fn of_engine(name: &str, why: &EngineError) -> Failure {
    let message = format!("{name}: {why}");
    match why {
        EngineError::NoSuch(_) => Failure::new(Exit::NotFound, message).remedy(format!(
            "build or pull it; an image of a registry is docker://{name}, and a file is a path with a slash"
        )),
        EngineError::Unreachable(_) | EngineError::BrokeOff { .. } | EngineError::Silent { .. } => {
            Failure::new(Exit::Unavailable, message)
        }
        EngineError::Spool(why) if is_full(why) => Failure::new(Exit::Failure, message).remedy(ROOM),
        EngineError::Reference(_) | EngineError::Architecture { .. } => Failure::new(Exit::Usage, message),
        _ => Failure::new(Exit::Failure, message),
    }
}

fn of_registry(name: &str, why: &RegistryError) -> Failure {
    let exit = match why {
        RegistryError::NoSuch(_) => Exit::NotFound,
        RegistryError::Unreachable { .. } | RegistryError::Status { .. } | RegistryError::BrokeOff { .. } => {
            Exit::Unavailable
        }
        RegistryError::Reference { .. } | RegistryError::Architecture { .. } => Exit::Usage,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, format!("{name}: {why}"));
    match why {
        RegistryError::Spool(why) if is_full(why) => failure.remedy(ROOM),
        _ => failure,
    }
}

fn is_full(why: &SpoolError) -> bool {
    matches!(why, SpoolError::NoRoom(_) | SpoolError::Full { .. })
}
