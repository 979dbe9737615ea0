//! One front door for developers: `cargo xtask --help`.
//!
//! ```text
//!   make test ──► cargo xtask test ──► tiers: unit · docker · vm · images · api · demo · deny · leaks · secrets
//!   make lint ──► cargo xtask lint              │ each child's output goes to target/test-output/, then
//!   make demo ──► cargo xtask demo              ▼ parse/ makes counts of it
//!   .ci/run   ──► make lint test        "N passed, N failed, N skipped"
//! ```

mod agent;
mod bench;
mod child;
mod console;
mod counts;
mod daemon;
mod demo;
mod engine;
mod leaks;
mod lint;
mod node;
mod openapi;
mod parse;
mod repo;
mod service;
mod stop;
mod tier;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::repo::Repo;
use crate::stop::{Interrupted, Stop};

/// Everything that a developer or CI does with this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// All that CI asks for: lint, the OpenAPI document, every test that can run here.
    Ci,
    /// Format the Rust code.
    Fmt {
        /// Only say what is not formatted.
        #[arg(long)]
        check: bool,
    },
    /// Check the format, run clippy with warnings denied, and shellcheck where it is installed.
    Lint,
    /// Run the test tiers that can run here, say which could not, and count.
    Test(tier::Choice),
    /// Write openapi/orchestrator.json anew from the code.
    Openapi {
        /// Only say whether it has drifted.
        #[arg(long)]
        check: bool,
    },
    /// Start the service with a class of three seats; Ctrl-C removes all of it.
    Demo(demo::Options),
    /// Measure the service against the engine it drives and the scripts it replaces.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build the guest agent as guests have it: small and static. Prints where it is.
    Agent,
    /// List what the service left on the Docker engine; fails when there is anything.
    Leaks {
        /// Only what belongs to this workshop.
        #[arg(long)]
        workshop: Option<String>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse().task).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => {
            console::error(&error.to_string());
            ExitCode::from(130)
        }
        Err(error) => {
            console::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the task found everything in order; an error is a task that could not be carried out.
async fn run(task: Task) -> Result<bool> {
    let stop = Stop::listen()?;
    let repo = Repo::find;
    match task {
        Task::Ci => {
            let repo = repo()?;
            Ok(lint::run(&repo, &stop).await?
                && openapi::run(&repo, &stop, true).await?
                && tier::run(&repo, &stop, &tier::Choice::default()).await?)
        }
        Task::Fmt { check } => lint::fmt(&repo()?, &stop, check).await,
        Task::Lint => lint::run(&repo()?, &stop).await,
        Task::Test(choice) => tier::run(&repo()?, &stop, &choice).await,
        Task::Openapi { check } => openapi::run(&repo()?, &stop, check).await,
        Task::Demo(options) => demo::run(&repo()?, &stop, &options).await,
        Task::Bench(what) => bench::run(&stop, &what).await,
        Task::Agent => agent::run(&repo()?, &stop).await,
        Task::Leaks { workshop } => leaks::run(workshop.as_deref()).await,
    }
}
