//! From settings to the parts of the service.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use lifecycle::Policy;
use provider_docker::{DockerConfig, DockerHost, DockerProvider, GuardMode};
#[cfg(target_os = "linux")]
use provider_microvm::{MicrovmConfig, MicrovmProvider};
use provider_sim::{SimImage, SimProvider, World, WorldOptions};
use seats::{Limits, Provider};

use crate::config::{Config, ConfigError, GuardChoice, Problem, ProviderChoice, Settings};

#[cfg(target_os = "linux")]
mod microvm;
#[cfg(target_os = "linux")]
pub(crate) use self::microvm::engine as microvm_engine;

/// How many creates work at once for each core, unless configured otherwise (ADR 0012).
const CREATES_PER_CORE: usize = 2;

/// What the settings come to, checked as a whole. Nothing has been touched yet.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The bounds and defaults of seats.
    pub(crate) policy: Policy,
    /// What makes the seats.
    pub(crate) backend: Backend,
}

/// A provider's own part of the settings.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Containers.
    Docker(Box<DockerConfig>),
    /// Virtual machines.
    #[cfg(target_os = "linux")]
    Microvm(Box<MicrovmConfig>),
    /// Simulated seats.
    Sim,
}

impl Plan {
    /// Checks what no single setting can tell.
    ///
    /// # Errors
    /// With every contradiction.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let settings = &config.settings;
        let mut problems = Vec::new();
        if config.token.is_none() && !settings.listen.ip().to_canonical().is_loopback() {
            problems.push(Problem::at(
                config.source("listen").clone(),
                format!(
                    "listen: {} can be reached from other machines, so clients must send a token: \
                     set token_file or ORCHESTRATOR_TOKEN, or listen on 127.0.0.1",
                    settings.listen
                ),
            ));
        }
        if settings.seats_start_timeout.0.is_zero() {
            let source = config.source("seats.start_timeout").clone();
            problems.push(Problem::at(source, "seats.start_timeout: a workspace needs some time to start"));
        }
        problems.extend(above_ceiling(config));
        let policy = policy(settings).checked().map_err(|error| {
            // The ceilings were told above, by their names.
            if problems.is_empty() {
                problems.push(Problem::of_all(error.to_string()));
            }
        });
        let backend = match settings.provider {
            ProviderChoice::Docker => docker(config).map(|docker| Backend::Docker(Box::new(docker))),
            #[cfg(target_os = "linux")]
            ProviderChoice::Microvm => {
                microvm::config(config).map(|microvm| Backend::Microvm(Box::new(microvm)))
            }
            #[cfg(not(target_os = "linux"))]
            ProviderChoice::Microvm => {
                let source = config.source("provider").clone();
                Err(Problem::at(source, "provider: microVMs are for Linux; use docker here"))
            }
            ProviderChoice::Sim => Ok(Backend::Sim),
        };
        let backend = backend.map_err(|problem| problems.push(problem));
        match (policy, backend) {
            (Ok(policy), Ok(backend)) if problems.is_empty() => Ok(Self { policy, backend }),
            _ => Err(ConfigError(problems)),
        }
    }

    /// Makes the provider. Needs a runtime, and no engine; microVMs that are there are found again.
    ///
    /// # Errors
    /// When the provider refuses its configuration, or another service runs over the same microVMs.
    pub(crate) async fn provider(&self, settings: &Settings) -> anyhow::Result<Arc<dyn Provider>> {
        Ok(match &self.backend {
            Backend::Docker(docker) => {
                let provider = DockerProvider::new((**docker).clone())?;
                provider.start();
                provider
            }
            #[cfg(target_os = "linux")]
            Backend::Microvm(microvm) => {
                let engine = microvm_engine(&settings.docker_host);
                let provider = MicrovmProvider::new((**microvm).clone(), engine)?;
                provider.start().await?;
                provider
            }
            Backend::Sim => Arc::new(SimProvider::new(world(settings)?)),
        })
    }
}

fn above_ceiling(config: &Config) -> Vec<Problem> {
    let settings = &config.settings;
    let pairs = [
        ("cpus", settings.seats_cpus.0 > settings.seats_max_cpus.0),
        ("memory_mib", settings.seats_memory_mib.0 > settings.seats_max_memory_mib.0),
        ("pids", settings.seats_pids.0 > settings.seats_max_pids.0),
    ];
    let contradictions = pairs.into_iter().filter(|(_, contradicts)| *contradicts);
    contradictions
        .map(|(name, _)| {
            let source = config.source(&format!("seats.{name}")).clone();
            Problem::at(source, format!("seats.{name} is above seats.max_{name}, so no seat could be made"))
        })
        .collect()
}

fn policy(settings: &Settings) -> Policy {
    let parallel = match settings.creates_parallel.0 {
        0 => available_parallelism().map_or(1, NonZeroUsize::get) * CREATES_PER_CORE,
        configured => configured as usize,
    };
    Policy {
        image: settings.seats_image.clone(),
        allowed_images: settings.seats_allowed_images.clone(),
        limits: Limits {
            cpu_millis: settings.seats_cpus.0,
            memory_mib: settings.seats_memory_mib.0,
            pids: settings.seats_pids.0,
        },
        ceiling: Limits {
            cpu_millis: settings.seats_max_cpus.0,
            memory_mib: settings.seats_max_memory_mib.0,
            pids: settings.seats_max_pids.0,
        },
        parallel,
        queue: settings.creates_queue.0 as usize,
        start_timeout: settings.seats_start_timeout.0,
    }
}

fn docker(config: &Config) -> Result<DockerConfig, Problem> {
    let settings = &config.settings;
    let host: DockerHost = settings
        .docker_host
        .parse()
        .map_err(|error| Problem::at(config.source("docker.host").clone(), format!("{error}")))?;
    let prefix = settings.docker_subnet_prefix.and_then(|prefix| u8::try_from(prefix.0).ok());
    let docker = DockerConfig {
        host,
        pool: settings.docker_pool,
        subnet_prefix: prefix,
        seat_bound: settings.seats_max,
        publish: settings.docker_publish,
        endpoint_host: settings.docker_endpoint_host.clone(),
        command: Some(settings.docker_command.clone()).filter(|command| !command.is_empty()),
        auth_disabled: settings.seats_auth_disabled,
        jwks_url: settings.seats_jwks_url.clone(),
        capabilities: settings.seats_capabilities.clone(),
        log_max_size_mib: settings.docker_log_max_size_mib.0,
        log_max_files: settings.docker_log_max_files.0,
        isolate_seats: settings.docker_isolate_seats,
        shared_network: settings.docker_shared_network,
        stop_grace: settings.seats_stop_grace.0,
        call_timeout: settings.docker_call_timeout.0,
        start_timeout: settings.seats_start_timeout.0,
        guard: match settings.docker_metadata_guard {
            GuardChoice::Auto => GuardMode::Auto,
            GuardChoice::Required => GuardMode::Required,
            GuardChoice::Off => GuardMode::Off,
        },
    };
    docker.subnet_prefix().map_err(|error| Problem::of_all(error.to_string()))?;
    Ok(docker)
}

/// A world to try things out in. Besides the default image it has three that misbehave, so that one can see what
/// the service says then.
fn world(settings: &Settings) -> anyhow::Result<World> {
    let world = World::new(WorldOptions {
        http: settings.sim_http,
        start_timeout: settings.seats_start_timeout.0,
        latency: settings.sim_latency.0,
        ..WorldOptions::default()
    });
    world.add_image(&settings.seats_image, SimImage::good());
    world.add_image(&"sim/exits".parse()?, SimImage::exits(1, "this image always ends"));
    world.add_image(&"sim/mute".parse()?, SimImage::mute());
    world.add_image(&"sim/slow".parse()?, SimImage::slow(std::time::Duration::from_secs(3)));
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SettingFlags, Surroundings};

    fn parallel(configured: Option<&str>) -> usize {
        // An empty file, so that none is looked for in the folders of whoever runs this.
        let file = tempfile::NamedTempFile::new().unwrap();
        let flag = configured.map(|text| ("creates.parallel", "creates-parallel".into(), text.into()));
        let flags = SettingFlags(flag.into_iter().collect());
        let surroundings = Surroundings { variables: Vec::new() };
        let config = Config::load(Some(file.path()), &flags, &surroundings).unwrap();
        Plan::new(&config).unwrap().policy.parallel
    }

    #[test]
    fn twice_as_many_creates_as_cores_unless_configured() {
        let cores = available_parallelism().unwrap().get();
        assert_eq!(parallel(None), 2 * cores);
        assert_eq!(parallel(Some("0")), 2 * cores);
        assert_eq!(parallel(Some("1")), 1);
        assert_eq!(parallel(Some(&(2 * cores + 1).to_string())), 2 * cores + 1);
    }
}
