//! An engine as seen by somebody who is not the service.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use seats::WorkshopId;

/// An engine that is up and has the test images.
#[derive(Clone, Debug)]
pub struct Host {
    /// A client past the service.
    pub docker: Docker,
    /// Where the engine listens.
    pub socket: PathBuf,
}

impl Host {
    /// The engine of this machine (`DOCKER_HOST`, else `/var/run/docker.sock`).
    ///
    /// # Errors
    /// When no engine answers, or it has no test images; says what to do.
    pub async fn of_this_machine() -> Result<Self> {
        let given = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = given.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
        let host = Self::at(Path::new(socket)).await?;
        let image = host.docker.inspect_image(crate::IMAGE).await;
        image.context("the test images are not there; images/testbed/build.sh makes them")?;
        Ok(host)
    }

    /// The engine behind a socket.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn at(socket: &Path) -> Result<Self> {
        let path = socket.to_str().context("the socket's path is not UTF-8")?;
        let docker = Docker::connect_with_unix(path, 120, API_DEFAULT_VERSION)?.negotiate_version().await;
        let docker = docker.context("no Docker engine answers; scripts/ensure-docker.sh starts one")?;
        Ok(Self { docker, socket: socket.to_owned() })
    }

    /// What there is of a workshop, by label.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn remains(&self, workshop: &WorkshopId) -> Result<Remains> {
        let filter = HashMap::from([("label", vec![format!("clarateach.workshop={workshop}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let containers = self.docker.list_containers(Some(options)).await?.into_iter();
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let networks = self.docker.list_networks(Some(options)).await?.into_iter();
        let options = ListVolumesOptionsBuilder::default().filters(&filter).build();
        let volumes = self.docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default();
        Ok(Remains {
            containers: containers
                .filter_map(|one| one.names?.into_iter().next())
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect(),
            networks: networks.filter_map(|one| one.name).collect(),
            volumes: volumes.into_iter().map(|one| one.name).collect(),
        })
    }

    /// The volumes that nobody named: the engine makes them for images that declare one, and labels of ours are not on
    /// them.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn nameless_volumes(&self) -> Result<BTreeSet<String>> {
        let options = None::<bollard::query_parameters::ListVolumesOptions>;
        let volumes = self.docker.list_volumes(options).await?.volumes.unwrap_or_default();
        let nameless = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(volumes.into_iter().map(|one| one.name).filter(nameless).collect())
    }

    /// Runs a program in a container and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be run, or ends with another code than 0.
    pub async fn exec(&self, container: &str, command: &[&str]) -> Result<String> {
        use bollard::exec::{CreateExecOptions, StartExecResults};
        use futures_util::StreamExt;
        let options = CreateExecOptions {
            cmd: Some(command.iter().map(ToString::to_string).collect::<Vec<_>>()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(container, options).await?;
        let mut said = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&exec.id, None).await? {
            while let Some(chunk) = output.next().await {
                said.extend_from_slice(&chunk?.into_bytes());
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        match self.docker.inspect_exec(&exec.id).await?.exit_code {
            Some(0) => Ok(said),
            code => bail!("{command:?} in {container} ended with {code:?}: {said}"),
        }
    }
}

/// The objects of a workshop, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Containers in any state.
    pub containers: BTreeSet<String>,
    /// Networks.
    pub networks: BTreeSet<String>,
    /// Volumes.
    pub volumes: BTreeSet<String>,
}

impl Remains {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { containers, networks, volumes } = self;
        write!(f, "containers {containers:?}, networks {networks:?}, volumes {volumes:?}")
    }
}
