//! One run from beginning to end.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bollard::Docker;

use super::disk::Disk;
use super::image::Prepared;
use super::report::{OfImage, Report};
use super::rounds::{self, Ground};
use super::way::Way;
use super::weigh::mib;
use super::{Options, budget, child, print, sweep};
use crate::bench::machine::Machine;
use crate::bench::{build, ground};
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Measures, prints, and writes the file. Whatever happens, nothing is left: no container, mount, loop device or file.
pub(super) async fn run(repo: &Repo, stop: &Stop, options: &Options) -> Result<()> {
    let results = repo.scratch("bench");
    let binaries = results.join("work");
    fs::create_dir_all(&binaries)?;
    let _alone = ground::alone(&results)?;
    let (docker, engine) = ground::engine().await?;
    let images = images(&docker, options).await?;
    check(options)?;
    let binary = build::release(repo, stop, options.binary.as_deref(), &binaries).await?;

    let parent = options.folder.clone().unwrap_or(results.clone());
    // Loop devices know the whole path.
    let parent = parent.canonicalize().with_context(|| format!("no folder {}", parent.display()))?;
    let folder = parent.join("rootfs-bench");
    // What a run that was killed has left.
    sweep::sweep(&docker, &folder).await?;
    make_folder(&folder)?;
    let disk = Disk::below(&folder).await;
    let measured = match &disk {
        Ok(disk) => {
            let (docker, engine, binary, folder) = (&docker, &*engine, &*binary, &*folder);
            let ground = Ground { docker, engine, disk, binary, folder, stop };
            measure(repo, &ground, &images, options).await
        }
        Err(why) => Err(anyhow::anyhow!("{why:#}")),
    };
    let swept = sweep::sweep(&docker, &folder).await;
    let report = measured?;
    swept?;

    print::report(&report);
    let file = results.join(format!("rootfs-{}.json", report.taken_at.replace([':', '-'], "")));
    fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    console::line(&format!("\nwritten to {}", file.display()));
    Ok(())
}

/// The names of the images, each once, with their tags: of a name without one, `docker save` writes all there are.
async fn images(docker: &Docker, options: &Options) -> Result<BTreeSet<String>> {
    let mut images = BTreeSet::new();
    for image in &options.images {
        let found = docker.inspect_image(image).await;
        let found = found.with_context(|| {
            format!("the image {image} is not there; images/corpus/build.sh makes those of the corpus")
        })?;
        let latest = format!("{image}:latest");
        let is_latest = found.repo_tags.is_some_and(|tags| tags.contains(&latest));
        images.insert(if is_latest { latest } else { image.clone() });
    }
    Ok(images)
}

/// What would otherwise be found out in the middle.
fn check(options: &Options) -> Result<()> {
    let needy = options.ways.iter().find(|way| way.needs_root());
    if let Some(way) = needy.filter(|_| !rustix::process::geteuid().is_root()) {
        let others = Way::ALL.into_iter().filter(|way| !way.needs_root()).map(Way::name);
        let others = others.collect::<Vec<_>>().join(",");
        bail!("the way {} needs root; without it, there is --way {others}", way.name());
    }
    ensure!(!options.ways.is_empty(), "no way is chosen");
    Ok(())
}

async fn measure(
    repo: &Repo,
    ground: &Ground<'_>,
    images: &BTreeSet<String>,
    options: &Options,
) -> Result<Report> {
    let taken_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut machine = Machine::look(ground.docker, repo).await?;
    let idle = child::run(Command::new("true"), ground.folder, ground.stop).await?;
    let (mut turns, mut prepared) = (Vec::new(), Vec::new());
    for image in images {
        console::title(&format!("{image}, {} rounds", options.rounds));
        let ready = Prepared::make(ground, image, &options.ways).await?;
        turns.extend(rounds::run(ground, &ready, &options.ways, options.rounds).await?);
        Prepared::remove(ground)?;
        prepared.push(ready);
    }
    machine.look_again();
    let images: Vec<OfImage> = prepared.into_iter().map(|image| OfImage::of(image, &turns)).collect();
    Ok(Report {
        taken_at,
        machine,
        file_system: ground.disk.kind.clone(),
        rounds: options.rounds,
        peak_floor_mib: mib(idle.peak),
        verdicts: budget::judge(&images),
        images,
        turns,
    })
}

/// A folder for nobody else: unpacked images hold programs that run as root.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))
}
