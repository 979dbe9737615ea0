//! `orchestrator doctor`: whether this host can run seats, and what to do where it cannot. Works without the
//! service.

mod host;
mod service;

use provider_docker::{DockerConfig, DockerProvider};
use seats::{Finding, ImageRef, Level};
use serde_json::json;

use crate::cli::Doctor;
use crate::config::{Config, Surroundings};
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Tone, Ui};
use crate::wiring::{Backend, Plan};

pub(super) async fn run(args: &Doctor, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    let findings = examine(args, surroundings).await;
    match ui.output {
        Output::Table => print(&findings, ui)?,
        Output::Json => {
            let checks: Vec<_> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "name": finding.name,
                        "level": finding.level.as_str(),
                        "detail": finding.detail,
                        "remedy": finding.remedy,
                    })
                })
                .collect();
            ui.json(&json!({ "ok": healthy(&findings), "checks": checks }))?;
        }
        Output::Tsv => findings.iter().try_for_each(|finding| {
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            ui.row([finding.level.as_str(), finding.name, finding.detail.as_str(), remedy])
        })?,
    }
    Ok(if healthy(&findings) { Exit::Ok } else { Exit::Failure })
}

fn healthy(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.level == Level::Error)
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
        Backend::Docker(docker) => findings.extend(engine(docker, &plan.policy.image).await),
    }
    findings.extend(host::limits(&config.settings));
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

fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::Warning => Tone::Warning,
        Level::Error => Tone::Bad,
    }
}

fn print(findings: &[Finding], ui: Ui) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    for finding in findings {
        let level = ui.paint(tone(finding.level), &format!("{:<7}", finding.level.as_str()));
        ui.line(&format!("{level}  {:<width$}  {}", finding.name, finding.detail))?;
        if let Some(remedy) = &finding.remedy {
            let remedy = ui.paint(Tone::Quiet, &format!("what to do: {remedy}"));
            ui.line(&format!("{:width$}{remedy}", "", width = width + 11))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    ui.line(&format!("{} checks, errors: {errors}, warnings: {warnings}", findings.len()))
}
