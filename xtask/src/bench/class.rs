//! One run from beginning to end.

use std::fs;

use anyhow::{Context as _, Result};
use bollard::Docker;

use super::machine::Machine;
use super::report::{ClassOf, Report};
use super::start::Setup;
use super::ways::Ground;
use super::{Options, budget, build, ground, print, resident, rounds, same, stubborn, sweep};
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

const STARTS: usize = 11;

/// Measures, prints, and writes the file. Whatever happens, nothing is left on the engine.
pub(super) async fn run(repo: &Repo, stop: &Stop, options: &Options) -> Result<()> {
    let folder = repo.scratch("bench");
    let work = folder.join("work");
    fs::create_dir_all(&work)?;
    let _alone = ground::alone(&folder)?;
    let (docker, engine) = ground::engine().await?;
    for image in [&options.image, &options.stubborn] {
        let found = docker.inspect_image(image).await;
        found.with_context(|| {
            format!("the image {image} is not there; images/testbed/build.sh makes the usual ones")
        })?;
    }
    let binary = build::release(repo, stop, options.binary.as_deref(), &work).await?;
    let setup = Setup { binary: &binary, folder: &work, flags: &options.service_flag };
    // What a run that was killed has left.
    sweep::sweep(&docker).await?;
    let measured = stop.or(measure(repo, &docker, &engine, setup, options)).await;
    // The service was stopped, or killed with the measurement that held it.
    let swept = sweep::sweep(&docker).await;
    if let Ok(stuck) = &swept {
        print::stuck(stuck);
    }
    let measured = measured?;
    let report = Report { stuck_networks: swept?, ..measured };

    print::report(&report);
    let file = folder.join(format!("class-{}.json", report.taken_at.replace([':', '-'], "")));
    fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    console::line(&format!("\nwritten to {}", file.display()));
    Ok(())
}

async fn measure(
    repo: &Repo,
    docker: &Docker,
    engine: &[i32],
    setup: Setup<'_>,
    options: &Options,
) -> Result<Report> {
    let taken_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut machine = Machine::look(docker, repo).await?;

    let service = setup.start().await?;
    same::prove(docker, &service.client, &options.image).await?;
    let ground = Ground { docker, service: &service.client, engine };
    let turns = rounds::run(&ground, options).await?;
    let stubborn_turns = stubborn::measure(&ground, options).await?;
    service.stop().await?;

    console::title("the service with many seats, and its start");
    let resident = resident::measure(docker, setup, options).await?;
    let start_ms = setup.times(STARTS).await?;
    machine.look_again();

    let classes = ClassOf::all(&turns);
    let stubborn = ClassOf::all(&stubborn_turns).into_iter().next();
    let verdicts = budget::judge(&classes, stubborn.as_ref(), resident.as_ref(), start_ms.as_ref());
    let image = options.image.clone();
    Ok(Report {
        taken_at,
        machine,
        image,
        service_flags: options.service_flag.clone(),
        verdicts,
        classes,
        stubborn,
        resident,
        start_ms,
        stuck_networks: Vec::new(),
        turns,
        stubborn_turns,
    })
}
