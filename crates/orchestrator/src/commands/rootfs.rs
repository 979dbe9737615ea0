//! `orchestrator rootfs …`: images as file systems, without the service.
//!
//! ```text
//!   source ─► open ─► build ─► the store, or a file
//!                └──► inspect
//!   list, verify, gc ─► the store
//! ```

mod amount;
mod build;
#[cfg(target_os = "linux")]
mod called;
mod inspect;
mod kept;
mod open;
mod out;
mod progress;
mod source;

use std::path::PathBuf;

use rootfs::store::Store;

use super::configured;
use crate::cli::{Rootfs, WhichImage};
use crate::config::{Config, Surroundings};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

pub(super) fn run(command: Rootfs, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    match command {
        Rootfs::Build(args) => build::run(&args, surroundings, ui),
        Rootfs::Inspect { image, place } => {
            let config = configured(&place, surroundings)?;
            let source = source::Source::parse(&image.image)?;
            let limits = limits(&image)?;
            let spool = std::env::temp_dir();
            let progress = progress::Progress::new(ui);
            let report = open::working(async |_| {
                let image = open::open(&source, &image, &config, &spool, &progress).await?;
                open::blocking(move || {
                    rootfs::inspect::inspect(&image, &limits).map_err(|why| build::failed(&why))
                })
                .await
            })?;
            progress.finish();
            inspect::show(&report, ui)
        }
        Rootfs::List { place } => kept::list(&store(&configured(&place, surroundings)?)?, ui),
        Rootfs::Verify { entries, remove, place } => {
            kept::verify(&store(&configured(&place, surroundings)?)?, &entries, remove, ui)
        }
        Rootfs::Gc { unused_for, keep, dry_run, place } => {
            let policy = rootfs::store::Policy {
                unused_for: unused_for.as_deref().map(amount::age).transpose()?,
                keep_bytes: keep.as_deref().map(amount::bytes).transpose()?,
                dry_run,
            };
            kept::gc(&store(&configured(&place, surroundings)?)?, &policy, ui)
        }
    }
}

/// What an image may ask for.
fn limits(image: &WhichImage) -> Result<rootfs::Limits, Failure> {
    let memory = image.memory.as_deref().map(amount::bytes).transpose()?.unwrap_or(rootfs::Limits::MEMORY);
    let least = rootfs::Limits::LEAST_MEMORY;
    if memory < least {
        let message = format!("{memory} bytes of memory are too few for a conversion");
        return Err(
            Failure::new(Exit::Usage, message).remedy(format!("allow --memory {}MiB or more", least >> 20))
        );
    }
    Ok(rootfs::Limits { memory, ..rootfs::Limits::default() })
}

fn store_folder(config: &Config) -> PathBuf {
    config.settings.state_dir.join("images")
}

fn store(config: &Config) -> Result<Store, Failure> {
    Store::open(&store_folder(config)).map_err(|why| {
        Failure::new(Exit::Failure, format!("the store cannot be used: {why}"))
            .remedy("name another folder by --state-dir, or run as the user who owns this one")
    })
}
