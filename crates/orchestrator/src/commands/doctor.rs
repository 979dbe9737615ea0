//! `orchestrator doctor`: whether this host can run seats, and what to do where it cannot. Works without the
//! service.

mod host;
mod service;

use provider_docker::{DockerConfig, DockerProvider};
use seats::{Finding, ImageRef};

use super::findings;
use crate::cli::Doctor;
use crate::config::{Config, Surroundings};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;
#[cfg(target_os = "linux")]
use crate::wiring::microvm_engine;
use crate::wiring::{Backend, Plan};

pub(super) async fn run(args: &Doctor, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    let findings = examine(args, surroundings).await;
    findings::show(&findings, serde_json::Value::Null, ui)
}

async fn examine(args: &Doctor, surroundings: &Surroundings) -> Vec<Finding> {
    let loaded = Config::load(args.config.as_deref(), &args.settings, surroundings);
    let planned = loaded.and_then(|config| Plan::new(&config).map(|plan| (config, plan)));
    let (config, plan) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            let failure = Failure::from(error);
            let detail = format!("{}: {}", failure.message, failure.details.join("; "));
            let remedy =
                "correct it; 'orchestrator serve --help' lists every setting. Nothing else was checked";
            return vec![Finding::error("configuration", detail, remedy)];
        }
    };
    let from = config.file.as_ref().map_or("no file".into(), |path| path.display().to_string());
    let mut findings = vec![Finding::ok("configuration", format!("valid ({from})"))];
    findings.extend(host::token_file(&config));
    match &plan.backend {
        Backend::Sim => {
            findings.push(Finding::ok("provider", "sim: seats are simulated, no engine is needed"));
        }
        #[cfg(target_os = "linux")]
        Backend::Microvm(microvm) => {
            findings.push(super::microvm::prepared(&guest_boot::Boot::open(&microvm.boot_folder())));
            let (memory, engine) =
                (config.settings.seats_memory_mib.0, microvm_engine(&config.settings.docker_host));
            findings.extend(provider_microvm::doctor(microvm, &plan.policy.image, memory, engine).await);
        }
        Backend::Docker(docker) => {
            findings.extend(engine(docker, &plan.policy.image).await);
            findings.extend(host::processes(&config.settings));
        }
    }
    findings.push(host::open_files(&config.settings));
    findings.push(service::check(args.url.as_deref(), &config).await);
    findings
}

/// What the engine and its host say.
async fn engine(docker: &DockerConfig, image: &ImageRef) -> Vec<Finding> {
    let provider = match DockerProvider::new(docker.clone()) {
        Ok(provider) => provider,
        Err(error) => {
            return vec![Finding::error("engine", error.to_string(), "correct the docker settings")];
        }
    };
    provider.inspect_host(image).await
}
