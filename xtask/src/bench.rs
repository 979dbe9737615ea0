//! `cargo xtask bench class`: what the service costs above the engine, and what it saves over the shell scripts.
//!
//! Three ways to make and destroy the same class take turns on the same engine, in another order each round:
//!
//! ```text
//!   scripts   docker command line, one seat after the other           what there was
//!   floor     plain Engine API calls side by side, several widths     what there can be at best
//!   service   PUT and DELETE /workshops/{id} of a release build       what there is
//! ```
//!
//! Only ratios of one run mean something: the machine, its other work and the engine's mood are the same for all
//! three. A budget that is missed is a result and no failure; a measurement that went wrong is a failure.
//!
//! `cargo xtask bench microvm` is about microVM seats: see [`microvm`]. `cargo xtask bench rootfs` is about the converter, and the same holds for it: see [`rootfs`].

mod budget;
mod build;
mod class;
mod floor;
mod ground;
mod list;
mod machine;
#[cfg(target_os = "linux")]
mod microvm;
mod objects;
mod print;
mod process;
mod report;
mod resident;
mod rootfs;
mod rounds;
mod same;
mod scripts;
mod service;
mod spread;
mod start;
mod stubborn;
mod sweep;
mod table;
mod ways;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::repo::Repo;
use crate::stop::Stop;

/// What can be measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Bench {
    /// A class of Docker seats: the scripts' way, the engine's floor and the service, in turns.
    Class(Options),
    /// An image to an ext4 file: the original plan's pipeline, mke2fs and the converter, in turns.
    Rootfs(rootfs::Options),
    /// A microVM seat beside the same guest started by hand, and a killed service that finds its seats again.
    #[cfg(target_os = "linux")]
    Microvm(microvm::Options),
    /// The part of it that runs in an outer guest.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    MicrovmGuests(microvm::NestedOptions),
}

/// How much is measured, and of what.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The sizes of class to measure.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 30])]
    seats: Vec<u16>,
    /// How often each way has its turn at each size; 0 leaves the classes out.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many calls the floor has under way at most; each is tried, the best counts.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    widths: Vec<usize>,
    /// The class over which the service's memory and listing are measured, as far as free memory allows; 0 leaves
    /// that out.
    #[arg(long, default_value_t = 100)]
    resident_seats: u16,
    /// How often each of the two listings is called.
    #[arg(long, default_value_t = 200)]
    list_samples: usize,
    /// The image of the seats; it ends on SIGTERM.
    #[arg(long, default_value = "clarateach-testbed")]
    image: String,
    /// An image that ignores SIGTERM, as the scripts' own does.
    #[arg(long, default_value = "clarateach-testbed:stubborn")]
    stubborn: String,
    /// The class of the stubborn image; the scripts take 10 s per seat to destroy it. 0 leaves it out.
    #[arg(long, default_value_t = 10)]
    stubborn_seats: u16,
    /// A further flag of the service, to try a setting out: --service-flag=--creates-parallel=8.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    service_flag: Vec<String>,
    /// The service's binary; without it, a release build is made.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Measures, prints the result and writes it to `target/bench/`.
pub(crate) async fn run(stop: &Stop, bench: &Bench) -> Result<bool> {
    match bench {
        // In an outer guest there is no cargo to ask where things are.
        #[cfg(target_os = "linux")]
        Bench::MicrovmGuests(options) => microvm::in_outer_guest(stop, options).await.map(|()| true),
        // The floor and the bare calls would carry the weight of a debug build.
        Bench::Class(_) if cfg!(debug_assertions) => build::again_in_release(&Repo::find()?, stop).await,
        Bench::Class(options) => class::run(&Repo::find()?, stop, options).await.map(|()| true),
        // Here other programs do all the work.
        Bench::Rootfs(options) => rootfs::run(&Repo::find()?, stop, options).await.map(|()| true),
        #[cfg(target_os = "linux")]
        Bench::Microvm(options) => microvm::run(&Repo::find()?, stop, options).await,
    }
}
