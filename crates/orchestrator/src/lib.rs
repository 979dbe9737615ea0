//! The service and its command line.
//!
//! ```text
//!   main ─► cli ─► commands ─┬─ serve ──► config ─► wiring ─► api over lifecycle over a provider
//!                            ├─ class, seat ──► client (HTTP, server-sent events) ─► ui
//!                            └─ doctor ──► config, engine, client ─► ui
//! ```

mod cli;
mod client;
mod commands;
mod config;
mod exit;
mod logging;
mod notify;
mod ui;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ui = ui::Ui::new(cli.output);
    let exit = commands::run(cli, ui).unwrap_or_else(|error| ui.fail(&error));
    exit.into()
}

/// The reference of the settings as a Markdown table, for the documentation and its test.
#[must_use]
pub fn config_reference() -> String {
    config::reference()
}
