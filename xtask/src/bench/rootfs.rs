//! `cargo xtask bench rootfs`: what an image costs on its way to an ext4 file.
//!
//! All ways start from the same image in the engine, take turns in another order each round, and end when their bytes
//! are on the disk (`fsync`):
//!
//! ```text
//!   plan            docker create, export | tar into a mounted mkfs.ext4, umount, rm    what was planned at first
//!   unpack-mke2fs   docker create, export | tar into a folder, rm, mke2fs -d            without a mount
//!   mke2fs          mke2fs -d of a folder that is there                                 its writing alone
//!   engine          orchestrator rootfs build IMAGE                                     ours, all of it
//!   archive         orchestrator rootfs build of what docker save wrote before          ours without the engine
//!   layout          the same of an OCI layout with gzip layers, as registries have      ours with unpacking
//!   copy            cp of our finished file                                             the floor of writing
//!   export, save    docker export and docker save to /dev/null                          the engine's own part
//! ```
//!
//! After each turn, outside of its time, the file is checked (`e2fsck -fn`), ours is hashed, and all of it is removed. A
//! first round does not count, so that every way finds the image in the page cache.

mod budget;
mod child;
mod disk;
mod image;
mod layout;
mod made;
mod print;
mod report;
mod rounds;
mod run;
mod sweep;
mod way;
mod weigh;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use self::way::Way;
use crate::repo::Repo;
use crate::stop::Stop;

/// How much is measured, and of what.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The images to convert, one after the other; each has to be in the engine.
    #[arg(
        long = "image",
        value_name = "IMAGE",
        value_delimiter = ',',
        default_value = "clarateach-corpus:debian"
    )]
    images: Vec<String>,
    /// How often each way has its turn at each image, after one turn that does not count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The ways that have their turns.
    #[arg(long = "way", value_name = "WAY", value_enum, value_delimiter = ',', default_values_t = Way::ALL)]
    ways: Vec<Way>,
    /// Where the files are made, in a folder of the bench's own that is removed at the end; target/bench unless said.
    /// They take about six times the image's size.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The binary with the converter; without it, a release build is made.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Measures, prints the result and writes it to `target/bench/`.
pub(super) async fn run(repo: &Repo, stop: &Stop, options: &Options) -> Result<()> {
    run::run(repo, stop, options).await
}
