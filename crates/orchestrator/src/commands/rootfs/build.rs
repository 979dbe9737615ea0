//! `orchestrator rootfs build`

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rootfs::build::{BuildError, Built, Options, build};
use rootfs::ext4::{PlanError, Size};
use rootfs::layer::{Excess, LayerProblem};
use rootfs::store::{InUse, Key, Store, StoreError};
use rootfs::writer::WriterKind;
use rootfs::{ImageFile, Init, InitError, Stage};
use serde_json::json;

#[cfg(target_os = "linux")]
use super::called::remember;
use super::open::{self, Partial};
use super::out::Out;
use super::progress::Progress;
use super::source::Source;
use super::{amount, configured, limits, store, store_folder};
use crate::cli::{Build, Writer};
use crate::config::{Config, Surroundings};
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Ui};

/// What there is now.
struct Made {
    image: ImageFile,
    rootfs: PathBuf,
    /// What was done for it; nothing when it was there.
    built: Option<Built>,
    fetched: Duration,
    allocated: u64,
}

pub(super) fn run(args: &Build, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    let config = configured(&args.place, surroundings)?;
    let source = Source::parse(&args.image.image)?;
    let options = options(args)?;
    let progress = Arc::new(Progress::new(ui));
    let made = match &args.out {
        Some(out) => {
            let out = Out::new(out, args.force)?;
            open::working(async |partial| {
                into_file(args, &source, &config, options, out, &progress, partial).await
            })?
        }
        None => {
            let store = store(&config)?;
            open::working(async |partial| {
                into_store(args, &source, &config, options, store, &progress, partial).await
            })?
        }
    };
    progress.finish();
    tell(&made, ui)?;
    Ok(Exit::Ok)
}

fn options(args: &Build) -> Result<Options, Failure> {
    let size = args.size.as_deref().map(amount::bytes).transpose()?;
    let init = args.init.as_deref().map(Init::open).transpose();
    let init = init.map_err(|why| Failure::new(Exit::Usage, why.to_string()))?;
    let writer = match args.writer {
        Writer::Mkext4 => WriterKind::Mkext4,
        Writer::Mke2fs => WriterKind::Mke2fs,
    };
    let limits = limits(&args.image)?;
    Ok(Options { size: size.map_or(Size::Fitting, Size::Exactly), limits, init, writer })
}

async fn into_file(
    args: &Build,
    source: &Source,
    config: &Config,
    options: Options,
    out: Out,
    progress: &Arc<Progress>,
    partial: Partial,
) -> Result<Made, Failure> {
    let began = Instant::now();
    let image = open::open(source, &args.image, config, out.folder(), progress).await?;
    let (fetched, names, progress) = (source.fetched(began), source.names(), progress.clone());
    open::blocking(move || {
        partial.set(Some(out.partial().to_owned()));
        let made = out.make(|path| {
            let built = build(&image, path, &options, &*progress).map_err(|why| failed(&why))?;
            let document = ImageFile::new(&image, &options, &built, names);
            Ok((document, built))
        });
        partial.set(None);
        let (image, built) = made?;
        let rootfs = out.path().to_owned();
        Ok(Made { image, allocated: allocated(&rootfs), rootfs, built: Some(built), fetched })
    })
    .await
}

async fn into_store(
    args: &Build,
    source: &Source,
    config: &Config,
    options: Options,
    store: Store,
    progress: &Arc<Progress>,
    partial: Partial,
) -> Result<Made, Failure> {
    let architecture = args.image.architecture.as_deref();
    // What the engine has under this name may be here already: then nothing has to be brought.
    if let Some((digest, platform)) = open::known(source, config).await
        && architecture.is_none_or(|wanted| platform.ends_with(&format!("/{wanted}")))
        && let Some(found) = store.get(&Key::known(digest, platform, &options)).map_err(of_store)?
    {
        remember(source, architecture, &options, config, found.name())?;
        return Ok(found_in_store(&found, None, Duration::ZERO));
    }
    let began = Instant::now();
    let image = open::open(source, &args.image, config, &store_folder(config), progress).await?;
    let (fetched, names, progress) = (source.fetched(began), source.names(), progress.clone());
    let of = options.clone();
    let (found, done) = open::blocking(move || {
        let options = of;
        let key = Key::of(&image, &options);
        let mut done = None;
        let waiting = || progress.note("another process converts this image; waiting for it");
        let found = store.get_or_build(&key, waiting, |path| -> Result<_, StoreError> {
            partial.set(path.parent().map(Path::to_owned));
            let built = build(&image, path, &options, &*progress)?;
            let document = ImageFile::new(&image, &options, &built, names);
            done = Some(built);
            Ok(document)
        });
        partial.set(None);
        Ok((found.map_err(of_store)?, done))
    })
    .await?;
    remember(source, architecture, &options, config, found.name())?;
    Ok(found_in_store(&found, done, fetched))
}

/// There are no microVMs elsewhere, and nobody who looks for their images by name.
#[cfg(not(target_os = "linux"))]
fn remember(
    _: &Source,
    _: Option<&str>,
    _: &Options,
    _: &Config,
    _: &rootfs::store::EntryName,
) -> Result<(), Failure> {
    Ok(())
}

fn found_in_store(found: &InUse, built: Option<Built>, fetched: Duration) -> Made {
    let rootfs = found.rootfs();
    Made { image: found.image.clone(), allocated: allocated(&rootfs), rootfs, built, fetched }
}

/// Bytes that a file takes of the disk; blocks of stat(2) have 512.
fn allocated(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |about| about.blocks() * 512)
}

/// What a person reads when an image cannot be converted.
pub(super) fn failed(why: &BuildError) -> Failure {
    let message = format!("the image cannot be converted: {why}");
    match why {
        BuildError::Plan(PlanError::TooSmall(small)) => {
            let remedy = format!("ask for at least --size {}, or leave it out", small.least);
            Failure::new(Exit::Usage, message).remedy(remedy)
        }
        BuildError::Memory { needs, .. } => {
            Failure::new(Exit::Failure, message).remedy(format!("allow --memory {}MiB", needs >> 20))
        }
        BuildError::Layer(why) if matches!(why.why, LayerProblem::Excess(Excess::Memory(_))) => {
            Failure::new(Exit::Failure, message).remedy("allow more with --memory, such as --memory 1GiB")
        }
        BuildError::Init(InitError::Taken | InitError::Read { .. } | InitError::Wrong { .. }) => {
            Failure::new(Exit::Usage, message)
        }
        BuildError::NoRoom(_) => Failure::new(Exit::Failure, message).remedy(open::ROOM),
        BuildError::Write { why, .. }
            if matches!(why.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
        {
            Failure::new(Exit::Failure, message).remedy(open::ROOM)
        }
        _ => Failure::new(Exit::Failure, message),
    }
}

fn of_store(why: StoreError) -> Failure {
    match why {
        StoreError::Build(why) => failed(&why),
        why => Failure::new(Exit::Failure, format!("the store cannot be used: {why}")),
    }
}

fn tell(made: &Made, ui: Ui) -> std::io::Result<()> {
    let Made { image, rootfs, built, fetched, allocated } = made;
    let mut stages: Vec<(Stage, Duration)> = Vec::new();
    if let Some(built) = built {
        if !fetched.is_zero() {
            stages.push((Stage::Fetch, *fetched));
        }
        stages.extend(&built.stages);
    }
    match ui.output {
        Output::Json => {
            let millis = |duration: &Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
            let stages: serde_json::Map<_, _> =
                stages.iter().map(|(stage, took)| (stage.as_str().to_owned(), millis(took).into())).collect();
            ui.json(&json!({
                "image": image.image,
                "architecture": image.architecture,
                "names": image.names,
                "rootfs": rootfs,
                "image_json": ImageFile::path_beside(rootfs),
                "outcome": if built.is_some() { "made" } else { "found" },
                "size": image.size,
                "allocated": allocated,
                "content": built.as_ref().map(|built| built.content),
                "inodes": built.as_ref().map(|built| built.inodes),
                "sha256": image.sha256,
                "stages": stages,
            }))
        }
        Output::Tsv => {
            let outcome = if built.is_some() { "made" } else { "found" };
            let (id, sha256) = (image.image.to_string(), image.sha256.to_string());
            let (size, allocated) = (image.size.to_string(), allocated.to_string());
            ui.row([&id, &rootfs.display().to_string(), &size, &allocated, &sha256, outcome])
        }
        Output::Table => {
            ui.line(&rootfs.display().to_string())?;
            let (size, disk) = (amount::shown(image.size), amount::shown(*allocated));
            match built {
                None => ui.line(&format!("it was there: {size}, {disk} of the disk")),
                Some(built) => {
                    let stages: Vec<_> = stages
                        .iter()
                        .map(|(stage, took)| format!("{} {:.1} s", stage.as_str(), took.as_secs_f64()))
                        .collect();
                    let content = amount::shown(built.content);
                    let total: Duration =
                        made.fetched + built.stages.iter().map(|(_, took)| *took).sum::<Duration>();
                    ui.line(&format!(
                        "made from {} ({}): {size}, {disk} of the disk, {content} of content, {} inodes",
                        image.names.first().map_or("the archive", String::as_str),
                        image.image,
                        built.inodes
                    ))?;
                    ui.line(&format!("in {:.1} s: {}", total.as_secs_f64(), stages.join(", ")))
                }
            }
        }
    }
}
